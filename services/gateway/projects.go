package gateway

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

type projectView struct {
	ID                 string   `json:"id"`
	Name               string   `json:"name"`
	Status             string   `json:"status"` // projectOK or projectBroken
	Problem            string   `json:"problem,omitempty"`
	Parts              []string `json:"parts"`
	Destinations       []string `json:"destinations"`
	DefaultDestination string   `json:"defaultDestination"`
	CanEncrypt         bool     `json:"canEncrypt"`
	EncryptDefault     bool     `json:"encryptDefault"`
}

const (
	projectOK     = "ok"
	projectBroken = "broken" // parts of it cannot be backed up
)

func viewProject(p catalog.Project) projectView {
	v := projectView{p.ID, p.Name, projectOK, p.Problem, p.Parts, p.Destinations, p.DefaultDestination, p.CanEncrypt, p.EncryptDefault}
	if v.Problem != "" {
		v.Status = projectBroken
	}
	return v
}

// visible returns the projects that a key may see.
func (g *Gateway) visible(c *fiber.Ctx) ([]catalog.Project, error) {
	all, err := g.b.Catalog.Projects(c.UserContext(), catalog.Projects{})
	return slices.DeleteFunc(all, func(p catalog.Project) bool { return !keyOf(c).may(p.ID) }), err
}

// projects answers GET /projects.
func (g *Gateway) projects(c *fiber.Ctx) error {
	all, err := g.visible(c)
	if err != nil {
		return err
	}
	out := make([]projectView, 0, len(all))
	for _, p := range all {
		out = append(out, viewProject(p))
	}
	return c.JSON(fiber.Map{"projects": out})
}

// getProject answers GET /projects/:id.
func (g *Gateway) getProject(c *fiber.Ctx) error {
	all, err := g.visible(c)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(p catalog.Project) bool { return p.ID == c.Params("id") })
	if i < 0 {
		return fault.Errorf(fault.NotFound, "Project not found")
	}
	return c.JSON(viewProject(all[i]))
}

// warnings returns what does not keep requests from being served and needs somebody
// all the same. What the catalog does not say, its own check does.
func (g *Gateway) warnings(ctx context.Context) []string {
	var out []string
	projects, err := g.b.Catalog.Projects(ctx, catalog.Projects{})
	for _, p := range projects {
		if err == nil && p.Problem != "" {
			out = append(out, "project "+p.ID+": "+p.Problem)
		}
	}
	return append(append(out, g.pools.warnings()...), g.setAside(ctx)...)
}

// setAsideTime is how long a command that was set aside is a warning.
const setAsideTime = 24 * time.Hour

// setAside says what could not be decoded or done, and was passed over.
func (g *Gateway) setAside(ctx context.Context) (out []string) {
	if f, err := g.b.Catalog.Figures(ctx, catalog.Figures{}); err == nil && f.Broken > 0 {
		out = append(out, fmt.Sprintf("%d events of the log cannot be decoded and are passed over; backups and restores that they belong to say `damaged`", f.Broken))
	}
	if g.b.DeadLetters == nil {
		return out
	}
	if n, last, err := g.b.DeadLetters(ctx); err == nil && n > 0 && time.Since(last) < setAsideTime {
		out = append(out, fmt.Sprintf("%d commands were set aside, the last at %s; the log of holdfastd says why", n, last.UTC().Format(time.RFC3339)))
	}
	return out
}
