package supabase

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// serverURL returns the URL of the database: at its own address if it is elsewhere,
// else at a published port, else at the address of its container.
func (f *found) serverURL(ctx context.Context) (string, error) {
	if u := f.options.DatabaseURL; u != "" {
		return u, nil
	}
	if f.databaseErr != nil {
		return "", f.databaseErr
	}
	d := f.database
	var host string
	if d.service == "" {
		host = external(d)
		if _, port, _ := net.SplitHostPort(host); port == poolerPort {
			return "", fmt.Errorf("%s says that the database is at %s, the pooler's port, through which pg_dump cannot work; set database.url", d.from, host)
		}
	} else {
		var tried, why string
		if host, tried = f.m.published(d); host == "" {
			if host, why = f.container(ctx, d); host == "" {
				return "", errors.New("tried: database.url is not set; " + tried + "; " + why)
			}
		}
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(d.user, d.password), Host: host, Path: "/" + d.name}
	return u.String(), nil
}

// poolerPort is where Supabase's pooler hands out transactions, not sessions.
const poolerPort = "6543"

// external returns the address of a database that no service of the project is.
func external(d database) string {
	host := d.host
	if host == "host.docker.internal" || host == "localhost" { // as the containers of this machine see it
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, d.port)
}

// published returns where the port of the database is published, or what was looked
// at.
func (m *model) published(d database) (host, tried string) {
	ports := m.service(d.service).Ports
	for _, p := range ports {
		if fmt.Sprint(p.Target) != d.port || strings.Trim(p.Published, "0123456789") != "" || p.Published == "" || p.Protocol == "udp" {
			continue
		}
		if other := m.alsoPublishes(d.service, p.Published); other != "" {
			return "", fmt.Sprintf("the services %s and %s publish the same port %s in %s", d.service, other, p.Published, strings.Join(m.files, ", "))
		}
		ip := strings.Trim(p.HostIP, "[]")
		if ip == "" || ip == "0.0.0.0" || ip == "::" {
			ip = "127.0.0.1"
		}
		return net.JoinHostPort(ip, p.Published), ""
	}
	why := "the service " + d.service + " publishes no port"
	if len(ports) > 0 {
		why = fmt.Sprintf("none of the %d ports that the service %s publishes leads to its port %s", len(ports), d.service, d.port)
	}
	if m.service(d.service).NetworkMode == "host" {
		return net.JoinHostPort("127.0.0.1", d.port), ""
	}
	return "", why + " in " + strings.Join(m.files, ", ")
}

// alsoPublishes returns another service that publishes a port, such as the pooler:
// nobody knows which of the two has it.
func (m *model) alsoPublishes(service, published string) string {
	for name, s := range m.project.Services {
		for _, p := range s.Ports {
			if name != service && p.Published == published {
				return name
			}
		}
	}
	return ""
}
