package e2e

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"time"
)

// post is an attack on POST /backups that must be refused.
func post(name, means, body string, status int, has ...string) attack {
	return attack{name: name, means: means, key: "admin", method: "POST", path: "/backups", body: body, status: status, has: has}
}

// restoring is an attack on the restore of p that must be refused.
func restoring(name, means, body string, has ...string) attack {
	return attack{name: name, means: means, key: "admin", method: "POST", path: "/backups/{p}/restore", body: body, status: 400, has: has}
}

// bodyAttacks are bodies that mean another thing than they seem to, or take the
// server's time.
func bodyAttacks() []attack {
	const plain = "a backup lay open that was meant to be encrypted"
	const wide = "more was restored than was asked for"
	encoded := func(name, coding string) attack {
		a := post(name, "a few bytes took gigabytes of memory", bomb(), 415, "without Content-Encoding")
		a.headers = []string{"Content-Encoding", coding}
		return a
	}
	typed := func(name, typ string) attack {
		a := post(name, "a form on another site could ask for a backup", full, 415)
		a.headers = []string{"Content-Type", typ}
		return a
	}
	return []attack{
		post("encrypt twice", plain, `{"projectId":"p","encrypt":true,"encrypt":false}`, 400, "twice"),
		post("encrypt twice, once escaped", plain, `{"projectId":"p","encrypt":true,"encryp\u0074":false}`, 400, "twice"),
		post("encrypt in other letters", plain, `{"projectId":"p","Encrypt":true}`, 400, `write \"encrypt\"`),
		post("encrypt in both letters", plain, `{"projectId":"p","encrypt":true,"ENCRYPT":false}`, 400, `write \"encrypt\"`),
		post("encrypt with a long s", plain, `{"projectId":"p","deſtination":"local"}`, 400, "unknown field"),
		post("encrypt misspelt", plain, `{"projectId":"p","encypt":true}`, 400, "unknown field"),
		post("encrypt as a text", plain, `{"projectId":"p","encrypt":"true"}`, 400, "true or false"),
		post("encrypt as a number", plain, `{"projectId":"p","encrypt":1}`, 400, "true or false"),
		post("encrypt where it cannot be", plain, `{"projectId":"p","encrypt":true}`, 400, "Encryption is not configured"),
		post("project twice", "a proxy that checks projects saw another than Holdfast", `{"projectId":"o","projectId":"p"}`, 400, "twice"),
		post("two objects", "a second request hid behind the first", full+full, 400, "nothing else"),
		post("text behind the object", "a second request hid behind the first", full+"x", 400, "nothing else"),
		post("a list", "lists were taken for objects", `[`+full+`]`, 400, "not a JSON object"),
		post("null", "nothing were a request", `null`, 400, "not a JSON object"),
		post("a number", "numbers were requests", `7`, 400, "not a JSON object"),
		post("no body", "a backup of anything were made", ` `, 400, "not a JSON object"),
		post("a project that is a list", "types were guessed", `{"projectId":["p"]}`, 400, "must be a text"),
		post("a project that is an object", "types were guessed", `{"projectId":{"$ne":""}}`, 400, "must be a text"),
		post("comment in JSON", "parsers differed", `{"projectId":"p"/*,"encrypt":true*/}`, 400, "not a JSON object"),
		post("comma at the end", "parsers differed", `{"projectId":"p",}`, 400, "not a JSON object"),
		post("byte order mark", "parsers differed", "\ufeff"+full, 400, "not a JSON object"),
		post("bytes that are no UTF-8", "two names looked alike in the log", "{\"projectId\":\"p\xff\"}", 400, "not UTF-8"),
		post("zero in a name", "a name ended early in a C library", `{"projectId":"p\u0000"}`, 400, "Project not found"),
		post("path for a project", "files outside of a project were read", `{"projectId":"../p"}`, 400, "Project not found"),
		post("lookalike project", "two names looked alike", `{"projectId":"р"}`, 400, "Project not found"),
		post("a name of 1 MiB less a bit", "long names were stored for ever", `{"projectId":"`+strings.Repeat("p", 1<<20-100)+`"}`, 400, "Project not found"),
		post("a body of 2 MiB", "bodies filled the memory", `{"projectId":"`+strings.Repeat("p", 2<<20)+`"}`, 413, `"code":"too_large"`),
		post("deep lists", "a deep body ended the process", strings.Repeat("[", 500_000), 400, "not a JSON object"),
		post("deep objects", "a deep body ended the process", strings.Repeat(`{"a":`, 150_000), 400, "not a JSON object"),
		post("many fields", "many fields took the server's time", `{"projectId":"p"`+strings.Repeat(`,"x":1`, 150_000)+`}`, 400, "unknown field"),
		post("a huge number", "numbers took the server's time", `{"projectId":`+strings.Repeat("9", 900_000)+`}`, 400, "must be a text"),
		post("path for a destination", "archives were written anywhere", `{"projectId":"p","destination":"../../tmp"}`, 400, "not configured"),
		post("URL for a destination", "archives were sent to a stranger", `{"projectId":"p","destination":"https://evil.example/"}`, 400, "not configured"),
		post("type of nothing", "a backup were green but empty", `{"projectId":"p","type":""}`, 400, "type must be one of"),
		post("type that the project has not", "a backup were green but empty", `{"projectId":"p","type":"database"}`, 400, "has no part database"),
		post("fields of our own events", "a client forged where a backup lies", `{"projectId":"p","path":"/etc/passwd","origin":"safety"}`, 400, "unknown field"),
		encoded("gzip", "gzip"), encoded("gzip twice", "gzip, gzip"), encoded("gzip in capitals", "GZIP"), encoded("brotli", "br"), encoded("deflate", "deflate"), encoded("unknown coding", "zip"),
		typed("form", "application/x-www-form-urlencoded"), typed("multipart", "multipart/form-data; boundary=x"), typed("text", "text/plain"), typed("XML", "application/xml"), typed("type of nonsense", "application/json;;;"),
		restoring("restore with force twice", "safety checks were overridden by accident", `{"forceRestore":false,"forceRestore":true}`, "twice"),
		restoring("dry run in other letters", "a dry run changed a project", `{"dryrun":true}`, `write \"dryRun\"`),
		restoring("dry run twice", "a dry run changed a project", `{"dryRun":true,"dryRun":false}`, "twice"),
		restoring("dry run as a text", "a dry run changed a project", `{"dryRun":"yes"}`, "true or false"),
		restoring("no types", wide, `{"restoreTypes":[]}`, "restoreTypes is empty"),
		restoring("a type that is none", wide, `{"restoreTypes":["everything"]}`, "restoreTypes must be some of"),
		restoring("a type the backup lacks", wide, `{"restoreTypes":["database"]}`, "holds no database"),
		restoring("a type as a text", wide, `{"restoreTypes":"config"}`, "must be a list of texts"),
		restoring("types in a list in a list", wide, `{"restoreTypes":[["config"]]}`, "restoreTypes"),
		restoring("restore null", wide, `null`, "not a JSON object"),
		restoring("target of nothing", wide, `{"targetProjectId":""}`, "Project not found"),
		restoring("path for a target", "files outside of a project were written", `{"targetProjectId":"../o"}`, "Project not found"),
		{name: "delete with a body", means: "a client that meant a dry run deleted a backup", key: "admin", method: "DELETE", path: "/backups/{p}", body: `{"dryRun":true}`, status: 400},
		{name: "verify with a body", means: "a wish was ignored in silence", key: "admin", method: "POST", path: "/backups/{p}/verify", body: `{"deep":true}`, status: 400},
		{name: "undo with a body", means: "a wish was ignored in silence", key: "admin", method: "POST", path: "/restores/{rp}/undo", body: `{"dryRun":true}`, status: 400},
	}
}

// bomb is a small body that becomes 64 MiB, compressed twice.
func bomb() string {
	b := make([]byte, 64<<20)
	for range 2 {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write(b)
		_ = w.Close()
		b = z.Bytes()
	}
	return string(b)
}

// queryAttacks are parameters of the list.
func queryAttacks() []attack {
	list := func(name, means, query string, status int, has ...string) attack {
		return attack{name: name, means: means, key: "admin", method: "GET", path: "/backups?" + query, status: status, has: has}
	}
	return []attack{
		list("project twice in the query", "a proxy that checks projects saw another than Holdfast", "projectId=o&projectId=p", 400, "twice"),
		list("limit twice", "a proxy that checks limits saw another than Holdfast", "limit=1&limit=500", 400, "twice"),
		list("limit of all", "a list filled the memory", "limit=1000000000", 400, "between 1 and 500"),
		list("limit below zero", "a list filled the memory", "limit=-1", 400, "between 1 and 500"),
		list("limit beyond numbers", "a number overflowed", "limit=99999999999999999999", 400, "between 1 and 500"),
		list("limit in hex", "parsers differed", "limit=0x10", 400),
		list("offset below zero", "the database failed", "offset=-5", 400, "0 or more"),
		list("offset beyond numbers", "a number overflowed", "offset=9223372036854775808", 400),
		list("largest offset", "a sum overflowed", "offset=9223372036854775807", 200, `"backups":[]`),
		list("SQL in the project", "the catalog was read or dropped", "projectId=p'%20OR%20'1'='1", 200, `"total":0`),
		list("SQL in the status", "the catalog was read or dropped", "status=failed'--", 400, "status must be one of"),
		list("SQL in the type", "the catalog was read or dropped", "type=full%3BDROP%20TABLE%20backups", 400, "type must be one of"),
		list("zero in the project", "a name ended early in a C library", "projectId=p%00", 200, `"total":0`),
		list("forged cursor", "a cursor led into the database", "cursor=eyJpZCI6IicgT1IgMT0xIC0tIn0", 400, "nextCursor"),
		list("cursor of nonsense", "a cursor led into the database", "cursor=%2e%2e", 400, "nextCursor"),
		list("time in the year 99999", "a time overflowed", "createdAfter=99999-01-01T00:00:00Z", 400, "createdAfter"),
		list("time of the year 9999", "a time overflowed", "createdBefore=9999-12-31T23:59:59Z", 200),
		list("broken percent sign", "parsers differed", "projectId=%zz", 200, `"total":0`),
		list("ten thousand parameters", "parameters took the server's time", strings.Repeat("a&", 8000), 200, `"total":`),
	}
}

// effectAttacks try to have an effect twice, or without a trace.
func effectAttacks() []attack {
	return []attack{
		{name: "one key for two projects", means: "a retry had an effect on another project under the same key", do: func(t *testing.T, v *victim) {
			idem := []string{"Idempotency-Key", "attack-1"}
			first := v.call("POST", "/backups", full, idem...)
			v.want(first, 201)
			v.want(v.call("POST", "/backups", `{"projectId":"o"}`, idem...), 422, "idempotency_mismatch")
			v.want(v.call("POST", "/backups/"+v.words["p"]+"/restore", `{}`, idem...), 422, "idempotency_mismatch")
			again := v.call("POST", "/backups", full, idem...)
			v.want(again, 201)
			if first.backup()["id"] != again.backup()["id"] {
				t.Errorf("two backups: %s and %s", first.body, again.body)
			}
		}},
		{name: "one key for two targets", means: "one restore of the log changed two projects", do: func(t *testing.T, v *victim) {
			idem := []string{"Idempotency-Key", "attack-2"}
			path := "/backups/" + v.words["o"] + "/restore"
			first := v.call("POST", path, `{"dryRun":true}`, idem...)
			v.want(first, 200)
			v.want(v.call("POST", path, `{"dryRun":true,"targetProjectId":"p"}`, idem...), 422, "idempotency_mismatch")
			v.want(v.call("POST", path, `{}`, idem...), 422, "idempotency_mismatch")
		}},
		{name: "another's Idempotency-Key", means: "a customer was shown the backup of another by guessing its key", key: "limited", method: "POST", path: "/backups", body: `{"projectId":"o"}`, headers: []string{"Idempotency-Key", "attack-1"}, status: 201, lacks: []string{"{p}", `"projectId":"p"`}},
		{name: "forced path behind a restore", means: "an id of a restore was taken for one of a backup", key: "admin", method: "GET", path: "/backups/{rp}", status: 404, has: []string{"Backup not found"}},
		{name: "id of a backup for a restore", means: "an id of a backup was taken for one of a restore", key: "admin", method: "POST", path: "/restores/{p}/undo", status: 404, has: []string{"Restore not found"}},
		{name: "cancelling what has ended", means: "a completed backup was called failed", key: "admin", method: "POST", path: "/backups/{p}/cancel", status: 409},
		{name: "clients that leave", means: "one client's abandoned requests kept everybody waiting", do: func(t *testing.T, v *victim) {
			for range 300 {
				conn := v.dial(t)
				_, _ = conn.Write([]byte(v.fill(attack{}, "POST /api/v1/backups/{p}/verify HTTP/1.1\r\nHost: x\r\nX-API-Key: {admin}\r\n\r\n")))
				conn.Close()
			}
			a := v.call("POST", "/backups", `{"projectId":"o"}`, "X-API-Key", attackKeys["limited"], "Prefer", "respond-async")
			v.want(a, 202)
			deadline := time.Now().Add(2 * time.Minute) // all that was asked for is done first
			for v.call("GET", "/backups/"+a.backup()["id"].(string), "").backup()["status"] != "completed" && time.Now().Before(deadline) {
				time.Sleep(100 * time.Millisecond)
			}
			v.want(v.call("POST", "/backups", `{"projectId":"o"}`), 201)
		}},
	}
}
