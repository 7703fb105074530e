package guard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast/internal/guard"
)

var errTaken = errors.New("taken over")

func watch(moved, fenced bool) guard.Watch {
	return guard.Watch{
		Stall: time.Minute,
		Look:  func(context.Context) (string, bool) { return "upload", moved },
		Fenced: func(context.Context) error {
			if fenced {
				return errTaken
			}
			return nil
		},
	}
}

func TestRun(t *testing.T) {
	failed := errors.New("failed")
	until := func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, errors.New("as good as ended")
	}
	for name, c := range map[string]struct {
		watch guard.Watch
		work  func(ctx context.Context) (int, error)
		want  error
		said  string
		took  time.Duration
	}{
		"it ends well":                     {watch(false, false), func(context.Context) (int, error) { return 7, nil }, nil, "", 0},
		"it fails":                         {watch(false, false), func(context.Context) (int, error) { return 0, failed }, failed, "", 0},
		"it moves":                         {watch(true, false), func(context.Context) (int, error) { time.Sleep(time.Hour); return 7, nil }, nil, "", time.Hour},
		"nothing moves":                    {watch(false, false), until, guard.ErrStalled, "nothing moved for 1m0s in the phase upload", 61 * time.Second},
		"it is taken over":                 {watch(true, true), until, errTaken, "", 4 * time.Second},
		"it does not end":                  {watch(true, true), func(context.Context) (int, error) { time.Sleep(time.Hour); return 7, nil }, errTaken, "", 4*time.Second + guard.GiveUp},
		"it panics":                        {watch(true, false), func(context.Context) (int, error) { panic("oh") }, nil, "panic: oh", 0},
		"it ends well as it is taken over": {watch(true, true), func(ctx context.Context) (int, error) { <-ctx.Done(); return 7, nil }, nil, "", 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				n, err := guard.Run(t.Context(), c.watch, c.work)
				switch {
				case c.said != "":
					if err == nil || !strings.Contains(err.Error(), c.said) {
						t.Errorf("got %v", err)
					}
				case !errors.Is(err, c.want):
					t.Errorf("got %v, want %v", err, c.want)
				case err == nil && n != 7:
					t.Errorf("got %d", n)
				}
				if took := time.Since(begin); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				time.Sleep(time.Hour) // for what was left behind
			})
		})
	}
}

// TestRunIsStopped ends the context of the caller.
func TestRunIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := guard.Run(ctx, watch(true, false), func(context.Context) (int, error) { time.Sleep(time.Hour); return 7, nil })
		if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took != time.Second+guard.GiveUp {
			t.Errorf("%v after %s", err, took)
		}
		time.Sleep(time.Hour) // for what was left behind
	})
}
