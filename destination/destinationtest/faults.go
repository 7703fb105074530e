package destinationtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/destination"
)

// FaultyStore is a store whose calls can be made to go wrong, and the same one without.
type FaultyStore struct {
	Open   func(*testing.T) destination.Store // by way of what can break; a new one for each upload
	Sound  destination.Store
	Break  func(fault string, first, last int) // the calls from first to last, counted from now; "" for none
	Calls  func() int                          // since the last Break
	Faults []string
}

// TestFaults stores an object of size bytes once for every fault and every call
// that this takes, with the fault at that call, and once with the fault at that
// call and all that follow. The upload succeeds, and the object is the same byte
// for byte, or it fails and nothing can be seen.
func TestFaults(t *testing.T, s FaultyStore, size int) {
	b := noise(size)
	for _, fault := range s.Faults {
		t.Run(fault, func(t *testing.T) {
			failed := 0
			for call := 1; ; call++ {
				err := s.try(t, fault, call, call, b)
				if s.Calls() < call { // it takes fewer
					if err != nil {
						t.Errorf("without a fault: %v", err)
					}
					t.Logf("%d calls; with a fault at one of them %d uploads failed", call-1, failed)
					return
				}
				if err != nil {
					failed++
				}
			}
		})
	}
	t.Run("nothing goes any more", func(t *testing.T) {
		for call := 1; ; call++ {
			err := s.try(t, "reset", call, 1<<30, b)
			if err == nil {
				if s.Calls() >= call {
					t.Errorf("from call %d on nothing went, and yet it succeeded", call)
				}
				return
			}
			if !errors.Is(err, destination.ErrUnreachable) {
				t.Errorf("from call %d on: %v, want ErrUnreachable", call, err)
			}
		}
	})
}

func (s FaultyStore) try(t *testing.T, fault string, first, last int, b []byte) error {
	t.Helper()
	key := fmt.Sprintf("p/%s-%d-%d-%d", strings.ReplaceAll(strings.ToLower(fault), " ", "-"), first, last, len(b))
	s.Break(fault, first, last)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := s.Open(t).Put(ctx, key, bytes.NewReader(b), destination.Estimate(len(b)))
	if err == nil {
		if got := get(t, s.Sound, key, 0, -1); !bytes.Equal(got, b) {
			t.Errorf("%s at call %d: a success, but the object has %d other bytes", fault, first, len(got))
		}
		return nil
	}
	if _, serr := s.Sound.Stat(t.Context(), key); !errors.Is(serr, destination.ErrNotExist) {
		// Who cannot even ask what was stored cannot remove it either; the caller does
		// that later, and what he finds is whole.
		if last == first || !bytes.Equal(get(t, s.Sound, key, 0, -1), b) {
			t.Errorf("%s at call %d: %v; but the object can be seen: %v", fault, first, err, serr)
		}
	}
	return err
}

// TestRefused makes every call to a store that cannot be used: each returns the
// sentinel, and a sentence that holds the advice.
func TestRefused(t *testing.T, s destination.Store, sentinel error, advice string) {
	calls := map[string]func() error{
		"put": func() error {
			_, err := s.Put(t.Context(), "p/a", strings.NewReader("x"), 1)
			return err
		},
		"put of several parts": func() error {
			_, err := s.Put(t.Context(), "p/a", bytes.NewReader(noise(20<<20)), 0)
			return err
		},
		"open": func() error {
			_, err := s.Open(t.Context(), "p/a", 0, -1)
			return err
		},
		"stat": func() error {
			_, err := s.Stat(t.Context(), "p/a")
			return err
		},
		"list": func() error {
			for _, err := range s.List(t.Context(), "") {
				return err
			}
			return nil
		},
		"delete": func() error { return s.Delete(t.Context(), "p/a") },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, sentinel) || !strings.Contains(err.Error(), advice) {
			t.Errorf("%s: got %v, want %v and %q", name, err, sentinel, advice)
		}
	}
}
