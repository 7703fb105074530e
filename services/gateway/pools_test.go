package gateway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// TestPoolWithoutWorker asks for a backup that no worker takes, and cancels it by a
// worker of another pool.
func TestPoolWithoutWorker(t *testing.T) {
	s := start(t)
	s.append(events.ProjectAggregate("q"), events.ProjectRegistered{Name: "Q", Pool: "other", Parts: []string{"config"}, Destinations: []string{"local"}, DefaultDestination: "local"})
	s.work = func(c backup.Create) error { s.accept(c); return nil }
	s.dead.Store("default", true)
	a := s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "respond-async"), 202)
	path := a.Header.Get("Location")
	for deadline := time.Now().Add(30 * time.Second); ; {
		a = s.call("GET", path, "")
		if strings.Contains(a.body, `"waitsFor":"A worker of the pool default; none has been running since`) || time.Now().After(deadline) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.want(a, 200, `"waitsFor":"A worker of the pool default`)
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(s.call("GET", "/metrics", "").body, `pool="other"`) && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	s.want(s.call("GET", "/metrics", ""), 200, `holdfast_pool_has_worker{pool="default"} 0`, `holdfast_pool_has_worker{pool="other"} 1`)
	s.want(s.call("DELETE", path, ""), 409, "was cancelled")
	s.want(s.call("POST", path+"/cancel", ""), 200, `"status":"failed"`, `"reason":"cancelled"`)
	if got := s.cancelledBy.Load(); got != "other" {
		t.Errorf("the pool %v was asked", got)
	}
	s.want(s.call("POST", path+"/cancel", ""), 409, "ended already")
	s.dead.Store("other", true)
	a = s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "respond-async"), 202)
	s.want(s.call("POST", a.Header.Get("Location")+"/cancel", ""), 200, `"reason":"cancelled"`) // the pool's own worker finds it
	if got := s.cancelledBy.Load(); got != "default" {
		t.Errorf("the pool %v was asked", got)
	}
}
