package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// destinationNames are those of the contract.
func destinationNames() []string {
	return []string{"local", "s3", "gcs", "azure", "r2", "minio", "backblaze"}
}

type listView struct {
	Backups    []backupView `json:"backups"`
	Pagination pagination   `json:"pagination"`
	Stats      *statsView   `json:"stats,omitempty"`
}

type pagination struct {
	Total      int64  `json:"total"`
	Limit      int    `json:"limit"`
	Offset     int    `json:"offset"`
	NextCursor string `json:"nextCursor,omitempty"`
}

type statsView struct {
	TotalBackups  int64                    `json:"totalBackups"`
	TotalSize     int64                    `json:"totalSize"`
	ByDestination map[string]catalog.Total `json:"byDestination"`
}

// list answers GET /backups.
func (g *Gateway) list(c *fiber.Ctx) error {
	q, err := listQuery(c)
	if err != nil {
		return err
	}
	page, err := g.b.Catalog.List(c.UserContext(), q)
	if err != nil {
		return err
	}
	out := listView{Backups: make([]backupView, 0, len(page.Backups)), Pagination: pagination{Total: page.Total, Limit: q.Limit, Offset: q.Offset}}
	for _, b := range page.Backups {
		out.Backups = append(out.Backups, g.withProgress(c.UserContext(), view(b)))
	}
	if page.More {
		last := page.Backups[len(page.Backups)-1]
		out.Pagination.NextCursor = encodeCursor(catalog.Cursor{Created: last.Created, ID: last.ID, First: last.First})
	}
	if s := page.Stats; s != nil {
		out.Stats = &statsView{s.Count, s.Size, s.ByDestination}
	}
	return c.JSON(out)
}

func listQuery(c *fiber.Ctx) (q catalog.List, err error) {
	statuses := make([]string, 0, len(catalog.Statuses()))
	for _, s := range catalog.Statuses() {
		statuses = append(statuses, string(s))
	}
	if q.Project, err = query(c, "projectId"); err != nil {
		return q, err
	}
	q.Only = keyOf(c).only()
	var status, stats string
	for _, p := range []struct {
		name    string
		into    *string
		allowed []string
	}{
		{"status", &status, statuses}, {"destination", &q.Destination, destinationNames()}, {"type", &q.Type, backup.Types()}, {"stats", &stats, []string{"true", "false"}},
	} {
		if *p.into, err = oneOf(c, p.name, p.allowed); err != nil {
			return q, err
		}
	}
	q.Status, q.Stats = catalog.Status(status), stats == "true"
	if q.Limit, err = number(c, "limit", 50, 1, catalog.MaxLimit); err != nil {
		return q, err
	}
	if q.Offset, err = number(c, "offset", 0, 0, maxInt); err != nil {
		return q, err
	}
	if q.CreatedAfter, err = moment(c, "createdAfter"); err != nil {
		return q, err
	}
	if q.CreatedBefore, err = moment(c, "createdBefore"); err != nil {
		return q, err
	}
	cursor, err := query(c, "cursor")
	if err != nil {
		return q, err
	}
	if q.After, err = decodeCursor(cursor); err == nil && q.After != nil && q.Offset > 0 {
		err = fault.Errorf(fault.Invalid, "cursor and offset exclude each other")
	}
	return q, err
}

func encodeCursor(c catalog.Cursor) string {
	b, _ := json.Marshal(c) // a time and a string
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeCursor(s string) (*catalog.Cursor, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // no cursor
	}
	var c catalog.Cursor
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || events.CheckTime("created", c.Created) != nil {
		return nil, fault.Errorf(fault.Invalid, "cursor must be the nextCursor of an earlier answer")
	}
	return &c, nil
}

// withProgress adds how far a running backup is.
func (g *Gateway) withProgress(ctx context.Context, v backupView) backupView {
	if v.Status == catalog.InProgress {
		if p, ok := g.b.Progress(ctx, events.BackupAggregate(v.ProjectID, v.ID)); ok {
			v.Progress = &p
		}
	}
	return v
}

// find returns the backup of a route with :id that the key may see and that a worker has
// accepted.
func (g *Gateway) find(c *fiber.Ctx) (catalog.Backup, error) {
	b, err := g.findAny(c, nil)
	if err == nil && b.Revision == 0 {
		err = fault.Errorf(fault.Conflict, "The backup is queued: no worker of the pool %s has taken it yet", b.Pool)
	}
	return b, err
}

// findAny returns the backup of a route with :id that the key may see, also one that is
// nothing but a command in the queue, which has no revision. It asks for a page of its
// restores as well, unless history is nil.
func (g *Gateway) findAny(c *fiber.Ctx, history *catalog.AskHistory) (catalog.Backup, error) {
	id := c.Params("id")
	if !backup.ValidID(id) {
		return catalog.Backup{}, fault.Errorf(fault.BackupNotFound, "Backup not found")
	}
	b, err := g.b.Catalog.Get(c.UserContext(), catalog.Get{ID: id, History: history})
	if fault.CodeOf(err) == fault.BackupNotFound {
		b, err = g.unlistedBackup(c, id)
	}
	if err == nil && !keyOf(c).may(b.Project) {
		err = fault.Errorf(fault.BackupNotFound, "Backup not found")
	}
	return b, err
}

// get answers GET /backups/:id.
func (g *Gateway) get(c *fiber.Ctx) error {
	before, err := decodeCursor(c.Query("historyCursor"))
	if err != nil {
		return fault.Errorf(fault.Invalid, "historyCursor must be the restoreHistoryCursor of an earlier answer")
	}
	b, err := g.findAny(c, &catalog.AskHistory{Only: keyOf(c).only(), Before: before})
	if err != nil {
		return err
	}
	v := g.withProgress(c.UserContext(), view(b))
	v.WaitsFor = g.waitsFor(c.UserContext(), b)
	v.addHistory(b.History)
	return c.JSON(v)
}
