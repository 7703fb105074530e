package supabase

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
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
		host = f.external(ctx, d)
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

// external returns the address of a database that no service of the compose files is.
// A name without dots may be that of a container which other compose files of the same
// folder have made.
func (f *found) external(ctx context.Context, d database) string {
	host := d.host
	if host == "localhost" || slices.Contains(thisMachine, host) {
		host = loopback
	}
	if isBareName(host) {
		if at := f.labelled(ctx, host, d.port); at != "" {
			return at
		}
	}
	return net.JoinHostPort(host, d.port)
}

// isBareName reports whether a host has a name that only a network of containers, or a
// local name service, can know.
func isBareName(host string) bool { return host != "" && !strings.ContainsAny(host, ".:") }

// published returns where the port of the database is published, or what was looked
// at.
func (m *model) published(d database) (host, tried string) {
	ports := m.service(m.networkOwner(d.service)).Ports
	for _, p := range ports {
		if fmt.Sprint(p.Target) != d.port || strings.Trim(p.Published, "0123456789") != "" || p.Published == "" || p.Protocol == "udp" {
			continue
		}
		if other := m.alsoPublishes(m.networkOwner(d.service), p.Published); other != "" {
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

// networkOwner returns the service whose network a service uses, and whose ports are
// its own.
func (m *model) networkOwner(service string) string {
	if kind, owner, _ := strings.Cut(m.service(service).NetworkMode, ":"); kind == "service" {
		return owner
	}
	return service
}
