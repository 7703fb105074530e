package project_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestBuilding asks whether the server works on what a restore builds while it does
// and does not.
func TestBuilding(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	to := project.Target{ID: "abc", Server: server(pg.URL("postgres"), pg.Bin)}
	if err := pg.Exec(t.Context(), "postgres", "CREATE DATABASE holdfast_new_abc"); err != nil {
		t.Fatal(err)
	}
	if err := pg.Exec(t.Context(), "holdfast_new_abc", "CREATE TABLE t (id int)"); err != nil {
		t.Fatal(err)
	}
	is := func(when string, want bool) {
		t.Helper()
		begin := time.Now()
		for to.Building(t.Context()) != want {
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("%s: it builds: %v", when, !want)
			}
		}
	}
	// during does something in a session of a database while f looks.
	during := func(database, statement string, f func()) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), pg.URL(database))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = conn.Exec(ctx, statement) // is cut off
			_ = conn.Close(context.WithoutCancel(ctx))
		}()
		f()
		cancel()
		<-done
	}
	is("at rest", false)
	during("holdfast_new_abc", "SELECT pg_sleep(60)", func() { is("while it works", true) })
	is("after the work", false)
	during("postgres", "SELECT pg_sleep(60)", func() { is("while it works on something else", false) })

	holder, err := pgx.Connect(t.Context(), pg.URL("holdfast_new_abc"))
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(context.WithoutCancel(t.Context()))
	if _, err := holder.Exec(t.Context(), "BEGIN; LOCK TABLE t"); err != nil {
		t.Fatal(err)
	}
	during("holdfast_new_abc", "SELECT FROM t", func() {
		waiting := func() int64 {
			return scalar(t, pg, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
		}
		for begin := time.Now(); waiting() == 0; {
			if time.Since(begin) > 10*time.Second {
				t.Fatal("nobody waits for the lock")
			}
		}
		is("while it waits for a lock", false)
	})
	freeze(t, pg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if to.Building(ctx) {
		t.Error("a server that does not answer is said to build")
	}
}

// freeze stops the process of a server that takes connections, until the test ends.
func freeze(t *testing.T, pg *testenv.Postgres) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(pg.DataDir(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(strings.Split(string(b), "\n")[0]))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
}
