package catalog

import "context"

// Subjects of the queries.
const (
	SubjectList     = "catalog.list"
	SubjectGet      = "catalog.get"
	SubjectRestore  = "catalog.restore"
	SubjectProjects = "catalog.projects"
	SubjectFigures  = "catalog.figures"
)

// Client is a [Reader] that asks a catalog elsewhere. Ask sends a query to a
// subject and decodes the answer.
type Client struct {
	Ask func(ctx context.Context, subject string, query, answer any) error
}

// List implements [Reader].
func (c Client) List(ctx context.Context, q List) (p Page, err error) {
	err = c.Ask(ctx, SubjectList, q, &p)
	return p, err
}

// Get implements [Reader].
func (c Client) Get(ctx context.Context, q Get) (b Backup, err error) {
	err = c.Ask(ctx, SubjectGet, q, &b)
	return b, err
}

// Restore implements [Reader].
func (c Client) Restore(ctx context.Context, q GetRestore) (r Restore, err error) {
	err = c.Ask(ctx, SubjectRestore, q, &r)
	return r, err
}

// Projects implements [Reader].
func (c Client) Projects(ctx context.Context, q Projects) (ps []Project, err error) {
	err = c.Ask(ctx, SubjectProjects, q, &ps)
	return ps, err
}

// Figures implements [Reader].
func (c Client) Figures(ctx context.Context, q Figures) (m Monitor, err error) {
	err = c.Ask(ctx, SubjectFigures, q, &m)
	return m, err
}
