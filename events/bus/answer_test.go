package bus_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/internal/fault"
)

// TestLargeAnswersArrive asks for more than one message can bring, of one answerer and
// of several at once.
func TestLargeAnswersArrive(t *testing.T) {
	b := embedded(t)
	for range 3 {
		q, err := b.NewQueries("test-large")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = q.Close() })
		if err := bus.Answer(q, "test.large", func(_ context.Context, n question) ([]string, error) {
			return []string{strings.Repeat("x", n.N), fmt.Sprint(n.N)}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{0, 700 << 10, 1 << 20, 5<<20 + 1, 20 << 20} {
		for name, ask := range map[string]func(context.Context, string, any, any) error{"ask": b.Ask, "soon": b.AskSoon, "every": func(ctx context.Context, subject string, q, a any) error {
			return b.Ask(ctx, "every."+subject, q, a)
		}} {
			if name == "soon" && n > 10<<20 {
				continue // a machine that is busy takes longer than that waits
			}
			var got []string
			if err := ask(t.Context(), "test.large", question{n}, &got); err != nil || len(got) != 2 || len(got[0]) != n || got[1] != fmt.Sprint(n) {
				t.Errorf("%s %d: %v", name, n, err)
			}
		}
	}
	var got []string
	if err := b.Ask(t.Context(), "test.large", question{65 << 20}, &got); fault.CodeOf(err) != fault.Internal {
		t.Errorf("more than the limit: %v", err)
	}
}
