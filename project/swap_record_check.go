package project

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// check refuses a plan with names that no swap moves.
func (p swapPlan) check() error {
	for _, names := range [][][]byte{p.Out, p.In} {
		seen := make(map[string]bool, len(names))
		for _, b := range names {
			name := string(b)
			if name == "" || name == "." || path.Clean("/"+name) != "/"+name || strings.ContainsRune(name, 0) || strings.HasPrefix(name, ownPrefix) || seen[name] {
				return fmt.Errorf("it moves %q", name)
			}
			seen[name] = true
		}
	}
	return nil
}

// checkProgress refuses a line that does not follow from those before it.
func (r *swapRecord) checkProgress(p progress) error {
	n, known := map[string]int{movesOut: len(r.Out), movesIn: len(r.In), backIn: len(r.In), backOut: len(r.Out), undoEnd: 0}[p.Phase]
	was := r.phases[p.Phase]
	outside := func(i int) bool { return i < 0 || i >= n }
	switch {
	case !known:
		return fmt.Errorf("there is no phase %q", p.Phase)
	case p.Done < was.Done || p.Begun < was.Begun || p.Done > p.Begun || p.Begun > n:
		return fmt.Errorf("%d of %d moves made, %d begun", p.Done, n, p.Begun)
	case slices.ContainsFunc(p.Gone, outside) || slices.ContainsFunc(p.Lost, outside):
		return errors.New("moves that are not in the plan")
	case r.undone():
		return errors.New("a move after the end of the undo")
	case (p.Phase == movesOut || p.Phase == movesIn) && r.undoing():
		return errors.New("a move of the swap after the undo has begun")
	}
	return nil
}
