package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/project"
)

// claims knows which database each project of the configuration leads to. The first
// project in the file has it: of another one a restore would replace the same database.
type claims struct {
	connect  bool // ask the servers who they are: one server may have two addresses
	projects []claimant

	mu    sync.Mutex
	at    map[string]claim
	asked map[project.Address]identified
}

type claimant struct {
	id      string
	resolve project.Resolver
}

// claim is where a database is: its address, and what the server says if it was asked.
type claim struct {
	address  project.Address
	identity project.Identity
}

func (c claim) same(other claim) bool {
	return c.address != (project.Address{}) && c.address == other.address || c.identity.System != "" && c.identity == other.identity
}

// identified is what a server has said of itself, or nothing if it could not be asked.
type identified struct {
	identity project.Identity
	until    time.Time
}

const (
	identifyTime   = 2 * time.Second
	identityKept   = 5 * time.Minute // another server may take over the address
	noIdentityKept = 30 * time.Second
)

func newClaims(c config.Config, connect bool) *claims {
	out := &claims{connect: connect, at: map[string]claim{}, asked: map[project.Address]identified{}}
	for _, p := range c.Projects {
		out.projects = append(out.projects, claimant{p.ID, resolverOf(p, c.Backup.LockTimeout)})
	}
	return out
}

// guard returns the resolver of a project that has no parts while its database is that of
// a project before it.
func (c *claims) guard(p claimant) project.Resolver {
	return func(ctx context.Context) project.Project {
		found := p.resolve(ctx)
		if problem := c.taken(ctx, p.id, found); problem != "" {
			found.Parts = slices.Clone(found.Parts) // a resolver may give the same ones each time
			for i, part := range found.Parts {
				found.Parts[i] = &project.UnavailablePart{Part: part.Name(), Sentence: problem}
			}
		}
		return found
	}
}

// taken says that the database of a project is that of one before it, or nothing.
func (c *claims) taken(ctx context.Context, id string, found project.Project) string {
	own := c.claim(ctx, id, found)
	for _, p := range c.projects {
		if p.id == id {
			break
		}
		c.mu.Lock()
		other, known := c.at[p.id]
		c.mu.Unlock()
		if !known {
			other = c.claim(ctx, p.id, p.resolve(ctx))
		}
		if own.same(other) {
			return fmt.Sprintf("The project %s leads to the same database %s of the same server, so that a restore of one would replace the other; "+
				"this one is not backed up until the compose files or database.url of one of the two are mended.", p.id, own.address.Database)
		}
	}
	return ""
}

// claim notes where the database of a project is.
func (c *claims) claim(ctx context.Context, id string, found project.Project) (own claim) {
	if found.Server != nil {
		if at, err := found.Server.Address(ctx); err == nil {
			own = claim{at, c.identify(ctx, at, found.Server)}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at[id] = own
	return own
}

// identify asks a server who it is, now and then.
func (c *claims) identify(ctx context.Context, at project.Address, s *project.Server) project.Identity {
	if !c.connect {
		return project.Identity{}
	}
	c.mu.Lock()
	known := c.asked[at]
	c.mu.Unlock()
	if time.Now().Before(known.until) {
		return known.identity
	}
	ctx, cancel := context.WithTimeout(ctx, identifyTime)
	defer cancel()
	id, _, err := s.Identify(ctx)
	known = identified{id, time.Now().Add(identityKept)}
	if err != nil { // the backup says so
		known = identified{until: time.Now().Add(noIdentityKept)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[at] = known
	return known.identity
}
