package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// outcome is what a client knows of one of its jobs.
type outcome struct {
	id      string // of the backup or the restore; "" if there is none
	refused bool   // by an answer that says why
}

// client does its jobs one after another.
func (c *chaos) client(ctx context.Context, jobs []job) {
	known := make([]outcome, len(jobs))
	for i, j := range jobs {
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(c.begin.Add(j.at))):
		}
		of := known[j.of].id
		if j.kind != jobBackup && of == "" {
			continue // that backup was refused
		}
		known[i] = c.ask(ctx, j, of)
		if j.repeat && known[i].id != "" && (j.kind == jobBackup || j.kind == jobRestore) {
			if again := c.ask(ctx, j, of); again.id != "" && again.id != known[i].id {
				c.t.Errorf("the key %s made %s and %s", j.key, known[i].id, again.id)
			}
		}
	}
}

// ask repeats a request until it is answered, and notes what was acknowledged.
func (c *chaos) ask(ctx context.Context, j job, of string) outcome {
	method, path := "POST", "/backups"
	switch j.kind {
	case jobRestore:
		path += "/" + of + "/restore"
	case jobCancel:
		path += "/" + of + "/cancel"
	case jobDelete:
		method, path = "DELETE", path+"/"+of
	case jobBackup:
	}
	for {
		var said string
		asked := time.Now()
		a, err := c.gateway.try(method, path, j.body, "Idempotency-Key", j.key, "Prefer", j.wait)
		switch {
		case err != nil:
			said = err.Error()
		case a.status == 503:
			said = a.body
			if took := time.Since(asked); took > refusedWithin {
				c.logf("%s %s: said %d after %s: %s", method, path, a.status, took, a.body)
			}
		default:
			return c.answered(j, of, a)
		}
		select {
		case <-ctx.Done():
			c.t.Errorf("%s %s with the key %s is not answered: %s", method, path, j.key, said)
			return outcome{}
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// refusedWithin is how long a request may take to be refused with 503. On a machine that
// does nothing else it is 5 s.
const refusedWithin = 15 * time.Second

// answered notes what an answer acknowledges. Every answer must be one that fits.
func (c *chaos) answered(j job, of string, a answer) outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch fits := func(status int, words ...string) bool {
		for _, w := range words {
			if a.status == status && strings.Contains(a.body, w) {
				return true
			}
		}
		return a.status == status && len(words) == 0
	}; {
	case j.kind == jobBackup && (fits(201) || fits(202)):
		id, _ := a.backup()["id"].(string)
		c.acked[id] = j.key
		return outcome{id: id}
	case j.kind == jobBackup && fits(500, `"backup_failed"`), j.kind == jobRestore && fits(500, `"restore_failed"`):
		return outcome{refused: true} // it has ended, and the log says so
	case j.kind == jobRestore && (fits(200) || fits(202)):
		var w struct{ Restore restored }
		if err := json.Unmarshal([]byte(a.body), &w); err != nil || w.Restore.ID == "" {
			c.t.Errorf("the restore %s: %v: %s", j.key, err, a.body)
		}
		c.acked[w.Restore.ID] = j.key
		return outcome{id: w.Restore.ID}
	case j.kind == jobDelete && fits(200):
		c.deleted[of] = true
		return outcome{}
	case j.kind == jobCancel && (fits(200) || fits(202)):
		return outcome{}
	case fits(409), j.kind != jobBackup && fits(404, "not found"):
		return outcome{refused: true}
	}
	c.t.Errorf("%s of %s with the key %s: %d %s", j.kind, of, j.key, a.status, a.body)
	return outcome{}
}

// settle waits until the processes work on nothing any more.
func (c *chaos) settle() {
	c.t.Helper()
	c.gateway.ready()
	c.eventually(settledWithin, func() error {
		log, err := c.read()
		if err != nil {
			return err
		}
		if left := log.unfinished(c.acked); len(left) > 0 {
			return fmt.Errorf("not at an end: %s", strings.Join(left, "; "))
		}
		return c.idle()
	})
	c.logf("everything has ended")
}

// settledWithin is how long everything takes to end that was asked for. What is in the
// hands of a process that died waits for its time to pass, and a slot for its holder.
const settledWithin = 5 * time.Minute
