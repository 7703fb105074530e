package gateway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// queued holds every command that asks for a backup back.
func queued(t *testing.T) *server {
	t.Helper()
	s := start(t)
	s.work = func(c backup.Create) error { s.queue.Store(c.ID, c); return nil }
	return s
}

// restoring asks for a restore that no worker takes and returns its path.
func (s *server) restoring() (path string, cmd restore.Create) {
	s.t.Helper()
	s.work = func(c backup.Create) error { s.complete(c); return nil }
	a := s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`), 201)
	_, rest, _ := strings.Cut(a.body, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	done := events.BackupAggregate("p", id)
	s.append(done, events.BackupAdopted{Pool: "default", Type: "config", Destination: "local", CreatedAt: time.Now(), EndedAt: time.Now(), Completed: events.BackupCompleted{Attempt: 1, Pool: "default", Key: "p/x.tar.gz", Parts: []events.Part{{Name: "config"}}}})
	last, err := s.log.Last(s.t.Context(), done)
	if err == nil {
		_, err = s.catalog.Get(s.t.Context(), catalog.Get{ID: id, Min: last.Revision})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	a = s.want(s.call("POST", "/api/v1/backups/"+id+"/restore", `{}`, "Prefer", "wait=0"), 202)
	path = a.Header.Get("Location")
	c, ok := s.queue.Load(path[strings.LastIndex(path, "/")+1:])
	if !ok {
		s.t.Fatalf("%s is not queued", path)
	}
	return path, c.(restore.Create)
}

// TestQueuedBackup asks for a backup whose command no worker has taken.
func TestQueuedBackup(t *testing.T) {
	s := queued(t)
	s.dead.Store("default", true)
	a := s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "wait=0"), 202, `"waitsFor":"A worker of the pool default; none`)
	path := a.Header.Get("Location")
	id := path[strings.LastIndex(path, "/")+1:]
	s.want(s.call("GET", path, ""), 200, `"status":"pending"`, `"id":"`+id, `"waitsFor":"A worker of the pool default; none`)
	s.want(s.call("GET", path, "", "X-API-Key", narrow), 404)
	s.want(s.call("DELETE", path, ""), 409, "no worker of the pool default has taken it yet")
	s.append(events.BackupAggregate("p", id), events.BackupRejected{Code: "invalid_request", Message: "The part went away"})
	s.want(s.call("GET", path, ""), 200, `"status":"pending"`) // that was an earlier command with the same key
	s.queue.Delete(id)
	s.want(s.call("GET", path, ""), 400, "The part went away")
	s.want(s.call("GET", path, "", "X-API-Key", narrow), 404)
	s.want(s.call("GET", "/api/v1/backups/"+backup.NewID(), ""), 404)
}

// TestQueuedRestore asks for a restore whose command no worker has taken.
func TestQueuedRestore(t *testing.T) {
	s := queued(t)
	path, cmd := s.restoring()
	s.dead.Store("default", true)
	s.want(s.call("GET", path, ""), 200, `"status":"pending"`, `"id":"`+cmd.ID, `"waitsFor":"A worker of the pool default that restores; none is running"`)
	s.want(s.call("GET", path, "", "X-API-Key", narrow), 404)
	s.want(s.call("POST", path+"/undo", ""), 409, "no worker of the pool default has taken it yet")
	s.queue.Delete(cmd.ID)
	s.append(cmd.CommandRoute().About, events.RestoreRejected{Code: "conflict", Message: "Another restore of the project is running: restore-x"})
	s.want(s.call("GET", path, ""), 409, "Another restore of the project is running")
	s.want(s.call("GET", "/api/v1/restores/"+restore.NewID(), ""), 404)
}

// TestCancelQueued cancels what is nothing but a command.
func TestCancelQueued(t *testing.T) {
	s := queued(t)
	a := s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "wait=0"), 202)
	path := a.Header.Get("Location")
	for range 2 {
		s.want(s.call("POST", path+"/cancel", ""), 200, `"status":"failed"`, `"reason":"cancelled"`)
	}
	s.want(s.call("GET", path, ""), 200, `"status":"failed"`, `"reason":"cancelled"`)
	path, _ = s.restoring()
	for range 2 {
		s.want(s.call("POST", path+"/cancel", ""), 200, `"status":"failed"`, `"reason":"cancelled"`, `"projectState":"unchanged"`)
	}
	s.want(s.call("GET", path, ""), 200, `"status":"failed"`, `"reason":"cancelled"`)
}

// TestCancelRestore cancels a restore before and after its swap has begun.
func TestCancelRestore(t *testing.T) {
	s := queued(t)
	path, cmd := s.restoring()
	about := cmd.CommandRoute().About
	s.append(about, events.RestoreRequested{Pool: cmd.Pool, Backup: cmd.Backup, BackupProject: "p", Parts: cmd.Parts, BodyHash: cmd.BodyHash})
	s.append(about, events.RestoreStarted{Attempt: 1, Worker: "w"})
	s.want(s.call("POST", path+"/cancel", "", "X-API-Key", narrow), 404)
	s.want(s.call("POST", path+"/cancel", "", "X-API-Key", reader), 403)
	s.want(s.call("POST", path+"/cancel", ""), 200, `"status":"failed"`, `"reason":"cancelled"`, `"projectState":"unchanged"`, `"error":"Cancelled"`)
	s.want(s.call("POST", path+"/cancel", ""), 409, "has ended already")

	path, cmd = s.restoring()
	about = cmd.CommandRoute().About
	s.append(about, events.RestoreRequested{Pool: cmd.Pool, Backup: cmd.Backup, BackupProject: "p", Parts: cmd.Parts, BodyHash: cmd.BodyHash})
	s.append(about, events.RestoreStarted{Attempt: 1, Worker: "w"})
	s.append(about, events.RestoreStageCompleted{Attempt: 1, Stage: restore.Ready})
	s.want(s.call("POST", path+"/cancel", ""), 409, "can be undone")
}

// TestUndoRefused tells a refusal from a failure.
func TestUndoRefused(t *testing.T) {
	s := queued(t)
	path, cmd := s.restoring()
	about := cmd.CommandRoute().About
	kept := keptUntil()
	s.append(about, events.RestoreRequested{Pool: cmd.Pool, Backup: cmd.Backup, BackupProject: "p", Parts: cmd.Parts, BodyHash: cmd.BodyHash})
	s.append(about, events.RestoreCompleted{Attempt: 1, KeptUntil: &kept})
	s.undo = events.RestoreUndoFailed{Reason: events.ReasonRefused, Message: "Prepared transactions keep the database"}
	s.want(s.call("POST", path+"/undo", ""), 409, "Prepared transactions keep the database")
	s.undo = events.RestoreUndoFailed{Reason: events.ReasonSource, Message: "The disk is broken"}
	s.want(s.call("POST", path+"/undo", ""), 500, "The disk is broken")
}
