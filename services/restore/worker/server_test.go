package worker

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestAnotherServerIsNeverTaken for the one that a restore began with.
func TestAnotherServerIsNeverTaken(t *testing.T) {
	at := func(url string) *project.Server {
		return &project.Server{URL: func(context.Context) (string, error) { return url, nil }}
	}
	one, two := testenv.NewPostgres(t, 15), testenv.NewPostgres(t, 15)
	own, other, away := at(one.URL("postgres")), at(two.URL("postgres")), at("postgres://u:p@127.0.0.1:1/postgres")
	want, _, err := own.Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		servers []*project.Server
		want    *project.Server
	}{
		"the first":        {[]*project.Server{own, other}, own},
		"the second":       {[]*project.Server{other, own}, own},
		"after one away":   {[]*project.Server{away, own}, own},
		"away":             {[]*project.Server{other, away}, away},
		"away, then other": {[]*project.Server{nil, away, other}, away},
	} {
		if got := sameServer(t.Context(), want, c.servers); got != c.want {
			t.Errorf("%s: got another one", name)
		}
	}
	if _, err := sameServer(t.Context(), want, []*project.Server{other, nil}).URL(t.Context()); !errors.Is(err, errOtherServer) {
		t.Errorf("got %v", err)
	}
	attempt := attempt{w: New(Config{Dir: t.TempDir()}, nil), a: events.RestoreAggregate("p", "restore-x"), found: project.Project{Server: other}, identity: want}
	if err := attempt.keepLocation(t.Context()); err == nil || !strings.Contains(err.Error(), "Nothing was changed: the project leads to another database server") {
		t.Errorf("the swap begins on another server: %v", err)
	}
	attempt.found.Server = own
	if err := attempt.keepLocation(t.Context()); err != nil {
		t.Error(err)
	}
	if got := sameServer(t.Context(), project.Identity{}, []*project.Server{other, own}); got != other {
		t.Error("without a database the first server is fine")
	}
}
