package gateway

import (
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/services/catalog"
)

// queued remembers the backups whose commands no worker has taken yet, so that the
// Location of an asynchronous answer is never unknown to the gateway that gave it.
type queued struct {
	mu   sync.Mutex
	rows map[string]catalog.Backup
}

const (
	queuedMax  = 10_000
	queuedTime = 7 * 24 * time.Hour // as long as commands are kept
)

func (q *queued) add(b catalog.Backup) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.rows == nil {
		q.rows = map[string]catalog.Backup{}
	}
	for id, row := range q.rows {
		if time.Since(row.Created) > queuedTime || len(q.rows) >= queuedMax {
			delete(q.rows, id)
		}
	}
	q.rows[b.ID] = b
}

func (q *queued) get(id string) (catalog.Backup, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b, ok := q.rows[id]
	return b, ok
}

func (q *queued) remove(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.rows, id)
}
