package supabase

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"time"
)

// superuser is the role of Supabase's images that may read everything.
const superuser = "supabase_admin"

// poolerPort is where the pooler hands out transactions, not sessions: pg_dump
// cannot work through it.
const poolerPort = "6543"

// databaseURL finds the database. It tries, in this order, the URL of the
// configuration, a published port of the service db, and the address of its
// container.
func (f *Found) databaseURL(ctx context.Context) (string, error) {
	if u := f.options.DatabaseURL; u != "" {
		return u, nil
	}
	if err := f.read(); err != nil { // passwords and ports may have changed since the start
		return "", err
	}
	password := f.env["POSTGRES_PASSWORD"]
	if password == "" {
		return "", fmt.Errorf("%s/.env has no POSTGRES_PASSWORD; set it there, or set database.url", f.dir)
	}
	host, tried := f.published()
	if host == "" {
		var why string
		if host, why = f.container(ctx); host == "" {
			tried = append(tried, why)
		}
	}
	if host == "" {
		return "", fmt.Errorf("tried: database.url is not set; %s", strings.Join(tried, "; "))
	}
	name := f.env["POSTGRES_DB"]
	if name == "" {
		name = "postgres"
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(superuser, password), Host: host, Path: "/" + name}
	return u.String(), nil
}

// published returns where the port of the service db is published, or what it
// looked at.
func (f *Found) published() (host string, tried []string) {
	ports := f.compose.ports("db")
	for _, p := range ports {
		if p.target != "5432" || p.published == poolerPort || p.published == "" {
			continue
		}
		ip := p.host
		if ip == "" || ip == "0.0.0.0" || ip == "::" {
			ip = "127.0.0.1"
		}
		return net.JoinHostPort(ip, p.published), nil
	}
	why := "the service db publishes no port"
	if len(ports) > 0 {
		why = fmt.Sprintf("none of the %d ports that the service db publishes leads to its port 5432", len(ports))
	}
	return "", []string{why + " in " + strings.Join(f.compose.files, ", ")}
}

// container returns the address of the database's container, or why there is
// none.
func (f *Found) container(ctx context.Context) (host, why string) {
	name := f.compose.container("db")
	if name == "" {
		name = "supabase-db"
	}
	out, err := f.docker(ctx, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", name)
	if err != nil {
		return "", fmt.Sprintf("`docker inspect %s` failed: %v", name, err)
	}
	for field := range strings.FieldsSeq(out) {
		if ip, err := netip.ParseAddr(field); err == nil {
			return net.JoinHostPort(ip.String(), "5432"), ""
		}
	}
	return "", fmt.Sprintf("`docker inspect %s` shows no address; is the container running?", name)
}

const dockerTimeout = 15 * time.Second

func (f *Found) docker(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dockerTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, f.options.Docker, args...).Output() //nolint:gosec // the operator's docker
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return "", errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}
