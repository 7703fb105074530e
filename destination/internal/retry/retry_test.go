package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

var errPassing = errors.New("passing")

func TestDo(t *testing.T) {
	again := func(error) retry.Decision { return retry.Decision{Again: true} }
	for name, test := range map[string]struct {
		retryable func(error) retry.Decision
		fails     int // so many calls fail
		calls     int
		least     time.Duration
		wantError bool
	}{
		"succeeds after failures": {again, 3, 4, 350 * time.Millisecond, false},
		"gives up":                {again, 99, 5, 0, true},
		"knows that it is no use": {func(error) retry.Decision { return retry.Decision{} }, 99, 1, 0, true},
		"waits as it is told":     {func(error) retry.Decision { return retry.Decision{Again: true, After: 3 * time.Second} }, 1, 2, 3 * time.Second, false},
		"but not for ever":        {func(error) retry.Decision { return retry.Decision{Again: true, After: time.Hour} }, 1, 2, 20 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, begin := 0, time.Now()
				err := retry.Policy{Tries: 5, Wait: 100 * time.Millisecond}.Do(t.Context(), test.retryable, func(context.Context) error {
					if calls++; calls <= test.fails {
						return errPassing
					}
					return nil
				})
				if calls != test.calls || (err != nil) != test.wantError || err != nil && !errors.Is(err, errPassing) {
					t.Errorf("%d calls, %v", calls, err)
				}
				if took := time.Since(begin); took < test.least || took > 2*test.least+time.Minute {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

func TestACallThatHangsIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		err := retry.Policy{Timeout: time.Second}.Do(t.Context(), func(error) retry.Decision { return retry.Decision{} }, func(ctx context.Context) error {
			if calls++; calls == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		if err != nil || calls != 2 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}

func TestTheCallerMayStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := retry.Policy{}.Do(ctx, func(error) retry.Decision { return retry.Decision{Again: true, After: time.Minute} }, func(context.Context) error { return errPassing })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
