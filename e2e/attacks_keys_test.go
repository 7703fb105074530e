package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// attackRoutes are the routes of the API and what each does, to a key that may.
var attackRoutes = []struct{ method, path, does string }{
	{"GET", "/backups", "listed all backups"},
	{"POST", "/backups", "made backups until the disk was full"},
	{"GET", "/backups/{p}", "shown a backup"},
	{"DELETE", "/backups/{p}", "deleted a backup"},
	{"GET", "/backups/{p}/download", "carried off the data of a project"},
	{"POST", "/backups/{p}/verify", "read the archive from the destination at the operator's cost"},
	{"POST", "/backups/{p}/cancel", "stopped a backup"},
	{"POST", "/backups/{p}/restore", "replaced a project by an older one"},
	{"GET", "/projects", "listed all projects"},
	{"GET", "/projects/p", "shown what a project has"},
	{"GET", "/restores/{rp}", "shown a restore"},
	{"POST", "/restores/{rp}/undo", "turned a project back"},
	{"POST", "/restores/{rp}/cancel", "stopped a restore"},
}

// routeAttacks try each route without a key, with a wrong one and with one that may do
// less, and with other verbs.
func routeAttacks() (all []attack) {
	body := func(path string) string {
		if path == "/backups" {
			return full
		}
		return ""
	}
	for _, r := range attackRoutes {
		route := r.method + " " + r.path
		b := ""
		if r.method == http.MethodPost {
			b = body(r.path)
		}
		all = append(all,
			attack{name: route + " without a key", means: "anybody had " + r.does, method: r.method, path: r.path, body: b, status: 401, has: []string{`"code":"unauthenticated"`}},
			attack{name: route + " with a wrong key", means: "anybody had " + r.does, key: "wrong", method: r.method, path: r.path, body: b, status: 401},
			attack{name: route + " with a key that may do nothing", means: "a key without permissions had " + r.does, key: "idle", method: r.method, path: r.path, body: b, status: 403, has: []string{`"code":"forbidden"`}},
		)
		if r.method != http.MethodGet {
			all = append(all, attack{name: route + " with a key that may read", means: "a monitoring system's key had " + r.does, key: "reader", method: r.method, path: r.path, body: b, status: 403, has: []string{"backups:write"}})
		}
	}
	allowed := map[string][]string{}
	for _, r := range attackRoutes {
		allowed[r.path] = append(allowed[r.path], r.method)
	}
	for path, methods := range allowed {
		for method := range strings.FieldsSeq("GET POST PUT PATCH DELETE OPTIONS TRACE BREW") {
			if !slices.Contains(methods, method) {
				all = append(all, attack{name: method + " " + path, means: "a verb that nobody thought of had done something to " + path, key: "admin", method: method, path: path, status: 405, has: []string{`"code":"method_not_allowed"`}})
			}
		}
	}
	return all
}

// keyAttacks are about the key itself.
func keyAttacks() []attack {
	send := func(headers ...string) attack {
		return attack{method: "GET", path: "/backups", headers: headers, status: 401, lacks: []string{`"backups":[`}}
	}
	with := func(a attack, name, means string) attack { a.name, a.means = name, means; return a }
	return []attack{
		with(send("X-API-Key", strings.ToUpper(apiKey)), "key in capitals", "keys were weaker than they look"),
		with(send("X-API-Key", apiKey[:len(apiKey)-1]), "key without its last letter", "a key could be found letter by letter"),
		with(send("X-API-Key", apiKey+"1"), "key with one letter more", "only the beginning of a key counted"),
		with(send("X-API-Key", apiKey+","+apiKey), "a list of keys", "many keys could be tried at a time"),
		with(send("X-API-Key", fmt.Sprintf("sha256:%x", apiKey)), "a hash of the key", "a leaked hash were a key"),
		with(send("X-API-Key", "*"), "a star for a key", "patterns were keys"),
		with(send("X-API-Key", "' OR 1=1 --"), "SQL for a key", "keys were looked up by text"),
		with(send("X-API-Key", strings.Repeat("k", 12<<10)), "a key of 12 KiB", "long keys took the server's time"),
		with(send("X-API-Key", "  "), "blanks for a key", "the empty key were one"),
		with(send("Authorization", "Basic "+apiKey), "key as Basic", "other schemes were mixed up"),
		with(send("Authorization", apiKey), "key without a scheme", "other schemes were mixed up"),
		with(send("Authorization", "Bearer"), "Bearer without a key", "the empty key were one"),
		with(send("Authorization", "Bearer null"), "Bearer null", "a client without a key were let in"),
		with(send("Cookie", "X-API-Key="+apiKey), "key in a cookie", "a page of another site could use a browser's cookie"),
		with(send("X-API-Key", attackKeys["wrong"], "Authorization", "Bearer "+apiKey), "two keys, the first wrong", "a proxy that checks one key let the other through"),
		{name: "key in the query", means: "keys were written into the logs of proxies", method: "GET", path: "/backups?api_key={admin}&X-API-Key={admin}", status: 401},
		{name: "unknown route without a key", means: "anybody learned which routes there are", method: "GET", path: "/settings/api-keys", status: 401},
		{name: "unknown verb without a key", means: "anybody learned which routes there are", method: "BREW", path: "/backups", status: 401},
		{name: "making a key by REST", means: "a key could make itself a better one", key: "limited", method: "POST", path: "/settings/api-keys", body: `{"name":"x"}`, status: 404},
	}
}

// projectAttacks are those of a key that may touch the project o only.
func projectAttacks() []attack {
	unknown := []string{`"error":"Backup not found"`}
	no := func(name, means, method, path, body string, status int, has ...string) attack {
		return attack{name: name, means: means, key: "limited", method: method, path: path, body: body, status: status, has: has, lacks: []string{"{p}", "{rp}", `"projectId":"p"`}}
	}
	return []attack{
		no("list of others", "a customer saw the backups of another", "GET", "/backups", "", 200, `"total":`),
		no("list of others by name", "a customer saw the backups of another", "GET", "/backups?projectId=p", "", 200, `"total":0`),
		no("stats of others", "a customer learned how large another is", "GET", "/backups?projectId=p&stats=true", "", 200, `"totalBackups":0`),
		no("cursor into others", "a cursor led past the filter", "GET", "/backups?cursor=eyJjcmVhdGVkIjoiMjA5OS0wMS0wMVQwMDowMDowMFoiLCJpZCI6IiJ9", "", 200, `"total":`),
		no("projects of others", "a customer learned who else is there", "GET", "/projects", "", 200, `"id":"o"`),
		no("project of another", "a customer saw the destinations of another", "GET", "/projects/p", "", 404, "Project not found"),
		no("backup of another", "a customer saw a backup of another", "GET", "/backups/{p}", "", 404, unknown...),
		no("download of another", "a customer carried off the data of another", "GET", "/backups/{p}/download", "", 404, unknown...),
		no("signed download of another", "a customer carried off the data of another", "GET", "/backups/{p}/download?redirect=true", "", 404, unknown...),
		no("deleting another's", "a customer deleted the backups of another", "DELETE", "/backups/{p}", "", 404, unknown...),
		no("verifying another's", "a customer learned what the archive of another holds", "POST", "/backups/{p}/verify", "", 404, unknown...),
		no("cancelling another's", "a customer kept another from having backups", "POST", "/backups/{p}/cancel", "", 404, unknown...),
		no("restoring another's", "a customer turned back the project of another", "POST", "/backups/{p}/restore", "", 404, unknown...),
		no("restoring another's into mine", "a customer read the data of another in its own project", "POST", "/backups/{p}/restore", `{"targetProjectId":"o"}`, 404, unknown...),
		no("dry run of another's", "a customer learned what the archive of another holds", "POST", "/backups/{p}/restore", `{"dryRun":true}`, 404, unknown...),
		no("restoring mine into another", "a customer wrote its files into the project of another", "POST", "/backups/{o}/restore", `{"targetProjectId":"p"}`, 400, "Project not found"),
		no("forcing mine into another", "force overrode what a key may touch", "POST", "/backups/{o}/restore", `{"targetProjectId":"p","forceRestore":true,"safetyBackup":false}`, 400, "Project not found"),
		no("dry run into another", "a customer learned what the project of another has", "POST", "/backups/{o}/restore", `{"targetProjectId":"p","dryRun":true}`, 400, "Project not found"),
		no("restoring mine into nobody", "unknown and forbidden projects could be told apart", "POST", "/backups/{o}/restore", `{"targetProjectId":"nonesuch"}`, 400, "Project not found"),
		no("backup for another", "a customer filled the destination of another", "POST", "/backups", full, 400, `"error":"Project not found"`),
		no("backup for nobody", "unknown and forbidden projects could be told apart", "POST", "/backups", `{"projectId":"nonesuch"}`, 400, `"error":"Project not found"`),
		no("backup for another in capitals", "another spelling led past the check", "POST", "/backups", `{"projectId":"P"}`, 400, "Project not found"),
		no("backup for another with a blank", "another spelling led past the check", "POST", "/backups", `{"projectId":"p "}`, 400, "Project not found"),
		no("backup for all", "a star stood for all projects", "POST", "/backups", `{"projectId":"*"}`, 400, "Project not found"),
		no("backup for the system", "the log's own aggregates could be written", "POST", "/backups", `{"projectId":"_system"}`, 400, "Project not found"),
		no("subject for a project", "a name with dots reached other subjects of the log", "POST", "/backups", `{"projectId":"p.backup.x"}`, 400, "Project not found"),
		no("wildcard for a project", "a wildcard reached all subjects of the log", "POST", "/backups", `{"projectId":">"}`, 400, "Project not found"),
		no("restore of another", "a customer saw what was restored elsewhere", "GET", "/restores/{rp}", "", 404, "Restore not found"),
		no("undoing another's", "a customer turned back the project of another", "POST", "/restores/{rp}/undo", "", 404, "Restore not found"),
		no("cancelling another's restore", "a customer kept another from having its project back", "POST", "/restores/{rp}/cancel", "", 404, "Restore not found"),
		{name: "reading key of one project writes", means: "a key could do more in its own project", key: "peeper", method: "DELETE", path: "/backups/{o}", status: 403},
		{name: "reading key of one project restores", means: "a key could do more in its own project", key: "peeper", method: "POST", path: "/backups/{o}/restore", status: 403},
		{name: "history of a restore elsewhere", means: "a customer learned into which other projects its backup was restored", do: func(t *testing.T, v *victim) {
			r := v.call("POST", "/backups/"+v.words["o"]+"/restore", `{"targetProjectId":"p","safetyBackup":false}`)
			if r.status != 200 {
				t.Fatalf("%d %s", r.status, r.body)
			}
			v.suffer(t, attack{name: "history", key: "limited", method: "GET", path: "/backups/{o}", status: 200, has: []string{"{ro}"}, lacks: []string{`"projectId":"p"`}})
			back := v.call("POST", "/backups/"+v.words["p"]+"/restore", `{"safetyBackup":false}`)
			if back.status != 200 {
				t.Fatalf("%d %s", back.status, back.body)
			}
		}},
	}
}

// lateAttacks have to wait for something that begins when the table does.
func lateAttacks() []attack {
	return []attack{
		{name: "key that has expired", means: "keys of people who left went on working", do: func(t *testing.T, v *victim) {
			a := attack{name: "expired", key: "expired", method: "GET", path: "/backups", status: 401, has: []string{"unknown or has expired"}}
			<-time.After(time.Until(v.expires.Add(time.Second)))
			v.suffer(t, a)
		}},
		{name: "request that never ends", means: "strangers kept connections for ever", do: func(t *testing.T, v *victim) {
			_ = v.slow.SetDeadline(time.Now().Add(time.Minute))
			res, err := http.ReadResponse(bufio.NewReader(v.slow), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != 408 || !strings.HasPrefix(string(b), `{"success":false,"error":"The request took too long`) {
				t.Errorf("%d %s, %v", res.StatusCode, b, err)
			}
		}},
	}
}
