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

// TestASharedFolderIsAProblemAsLongAsItIsShared and of both projects, also when a backup
// registers one of them.
func TestASharedFolderIsAProblemAsLongAsItIsShared(t *testing.T) {
	shared, own := t.TempDir(), t.TempDir()
	at := map[string]string{"p": shared, "q": shared}
	b := newBench(t, part(fine), func(c *worker.Config) {
		resolve := func(id string) project.Resolver {
			return func(context.Context) project.Project {
				return project.Project{Parts: []project.Part{&project.FunctionsPart{Path: at[id]}, part(fine)}}
			}
		}
		c.Projects = []worker.Project{{ID: "p", Resolve: resolve("p")}, {ID: "q", Resolve: resolve("q")}}
	})
	problem := func(id string) string {
		t.Helper()
		env, err := b.log.Last(t.Context(), events.ProjectAggregate(id))
		if err != nil {
			t.Fatal(err)
		}
		return env.Event.(events.ProjectRegistered).Problem
	}
	if err := b.w.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"p", "q"} {
		if got := problem(id); !strings.Contains(got, "have the same folder, "+shared) {
			t.Errorf("%s: %q", id, got)
		}
	}
	if s := b.state(); s.Completed == nil {
		t.Errorf("the backup failed: %+v", s.Failed)
	}
	at["q"] = own
	if err := b.w.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p, q := problem("p"), problem("q"); p != "" || q != "" {
		t.Errorf("still registered: %q, %q", p, q)
	}
}
