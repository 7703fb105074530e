package worker_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup/worker"
)

// TestRegistrationFollowsWhatIsFound at the start, before each backup, and whenever
// the worker looks again.
func TestRegistrationFollowsWhatIsFound(t *testing.T) {
	var now project.Project
	b := newBench(t, part(fine), func(c *worker.Config) {
		c.Projects[0].Resolve = func(context.Context) project.Project { return now }
	})
	registered := func() (all []events.ProjectRegistered) {
		t.Helper()
		for env, err := range b.log.Read(t.Context(), events.ProjectAggregate("p"), 0) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, env.Event.(events.ProjectRegistered))
		}
		return all
	}
	register := func(times int) {
		t.Helper()
		for range times {
			if err := b.w.Register(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	now.Parts = []project.Part{&project.UnavailablePart{Part: project.Config, Sentence: "The disk is away."}}
	register(2)
	if all := registered(); len(all) != 1 || all[0].Problem != "The disk is away." || !slices.Equal(all[0].Parts, []string{project.Config}) {
		t.Errorf("registered %+v", all)
	}
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.Failed == nil || !strings.Contains(s.Failed.Message, "The disk is away") || !s.Failed.Final {
		t.Errorf("state %+v", s)
	}
	now.Parts = []project.Part{part(fine)}
	b.a = events.BackupAggregate("p", "backup-bbbbbbbbbbbbbbbbbbbbbbbbbb")
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	if all := registered(); len(all) != 2 || all[1].Problem != "" {
		t.Errorf("registered %+v", all)
	}
	if s := b.state(); s.Completed == nil {
		t.Errorf("state %+v", s)
	}
}
