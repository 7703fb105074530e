package supabase

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// thisMachine are the names by which containers reach the machine that they run on.
var thisMachine = []string{"host.docker.internal", "gateway.docker.internal", "host.containers.internal", "host-gateway"}

const loopback = "127.0.0.1"

func isLoopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

// hostAsSeenBy returns what a host is that a service names: a service of the project,
// or an address outside of it. ok is false if the name leads back to the service itself,
// where no database is.
func (m *model) hostAsSeenBy(service, host string) (name string, ok bool) {
	s := m.service(service)
	if ips := s.ExtraHosts[host]; len(ips) > 0 { // before any other name
		host = ips[0]
	}
	if slices.Contains(thisMachine, host) {
		return loopback, true
	}
	for _, link := range s.Links {
		if target, alias, found := strings.Cut(link, ":"); found && alias == host {
			return target, true
		}
	}
	if !isLoopback(host) {
		return host, host != ""
	}
	switch kind, owner, _ := strings.Cut(s.NetworkMode, ":"); kind {
	case "host":
		return loopback, true
	case "service":
		return owner, true
	case "container":
		return firstOf(m.serviceAt(owner), owner), true
	}
	return "", false
}

// serviceAt returns the service that containers reach by a name, or "".
func (m *model) serviceAt(host string) string {
	all := m.services()
	if _, ok := all[host]; ok {
		return host
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if s := all[name]; s.ContainerName == host || s.Hostname == host || hasAlias(s, host) {
			return name
		}
	}
	return ""
}

func hasAlias(s types.ServiceConfig, host string) bool {
	for _, n := range s.Networks {
		if n != nil && slices.Contains(n.Aliases, host) {
			return true
		}
	}
	return false
}

// oneDatabase returns an error if the services that keep a project's data are given
// different databases: nobody knows then which of them is the project's.
func (m *model) oneDatabase(clients []address) error {
	var first address
	for _, a := range clients {
		if !a.core {
			continue
		}
		if a.database == "" {
			a.database = defaultDatabase
		}
		a.host = firstOf(m.serviceAt(a.host), a.host)
		switch {
		case first.from == "":
			first = a
		case a.host != first.host || a.database != first.database:
			return fmt.Errorf("%s is given the database %s at %s, and %s the database %s at %s, but a project has one database; set database.url",
				first.from, first.database, first.host, a.from, a.database, a.host)
		}
	}
	return nil
}
