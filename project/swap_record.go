package project

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// swapRecord is the journal of a swap: what it moves, and what has been moved. It
// lies beside the scratch folder of the restore and not among the files of the
// project, where others may write. It survives a crash, and goes with [Kept.Drop].
//
// A line says which moves may have begun, before they do, and another one that they
// were made, when that is durable. So of all but a few moves it is known whether they
// were made; of those few, the folder that only restores write to tells.
type swapRecord struct {
	swapPlan
	file   string
	phases map[string]progress
	step   func(what string) error // called before each line is written
}

// swapPlan is what a swap moves. Names are bytes: as text, JSON would change those
// that are no UTF-8.
type swapPlan struct {
	Out [][]byte `json:"out"` // names below the root, that are taken away
	In  [][]byte `json:"in"`  // that are brought
}

// Phases of a swap and of its undo.
const (
	movesOut = "out"
	movesIn  = "in"
	backIn   = "back_in"  // what was brought is taken away again
	backOut  = "back_out" // what was taken away comes back
	undoEnd  = "undone"
)

// progress says how far a phase has come.
type progress struct {
	Phase string `json:"phase"`
	Begun int    `json:"begun"` // moves that may have been made
	Done  int    `json:"done"`  // moves that were made
	Gone  []int  `json:"gone,omitempty"`
	Lost  []int  `json:"lost,omitempty"`
}

func (t Target) recordFile(part string) string { return t.Scratch + "." + part + ".swap" }

// loadRecord reads a record. It fails with [fs.ErrNotExist] if there is none, and refuses
// one that no restore has written.
func loadRecord(file string, step func(string) error) (*swapRecord, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(b, file, step)
	if err != nil {
		return nil, fail(fmt.Errorf("%s: %w", file, err), "The record of what the restore has moved, %s, is damaged, so nothing was moved or removed. What was replaced may be in the hidden folders beside the files; move it by hand.", filepath.Base(file))
	}
	return r, nil
}

func parseRecord(b []byte, file string, step func(string) error) (*swapRecord, error) {
	r := &swapRecord{file: file, phases: map[string]progress{}, step: step}
	end := bytes.LastIndexByte(b, '\n') + 1 // a line that a crash has cut off was not written
	if end == 0 {
		return nil, errors.New("it is empty")
	}
	for i, line := range slices.Collect(bytes.Lines(b[:end])) {
		if err := r.takeLine(i, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return r, nil
}

// takeLine takes in a line of the file, if it can be one.
func (r *swapRecord) takeLine(i int, line []byte) error {
	if i == 0 {
		if err := json.Unmarshal(line, &r.swapPlan); err != nil {
			return err
		}
		return r.check()
	}
	var p progress
	if err := json.Unmarshal(line, &p); err != nil {
		return err
	}
	if err := r.checkProgress(p); err != nil {
		return err
	}
	r.take(p)
	return nil
}

// take adds a line to what is known.
func (r *swapRecord) take(p progress) {
	was := r.phases[p.Phase]
	p.Gone, p.Lost = append(was.Gone, p.Gone...), append(was.Lost, p.Lost...)
	r.phases[p.Phase] = p
}

// createRecord writes the plan of a swap. It appears whole or not at all.
func createRecord(file string, plan swapPlan, step func(string) error) (*swapRecord, error) {
	b, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	if err := step("plan"); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	if err := step("plan"); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Rename(file+".new", file), syncDir(filepath.Dir(file))); err != nil {
		return nil, err
	}
	return &swapRecord{swapPlan: plan, file: file, phases: map[string]progress{}, step: step}, nil
}

// note writes a line.
func (r *swapRecord) note(p progress) error {
	if err := r.step("note"); err != nil {
		return err
	}
	line, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(r.file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(r.file)
	if err == nil {
		_, err = f.WriteAt(append(line, '\n'), int64(bytes.LastIndexByte(b, '\n')+1)) // over a line that was cut off
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	r.take(p)
	return r.step("noted")
}

// remove ends the record.
func (r *swapRecord) remove() error {
	err := os.Remove(r.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(filepath.Dir(r.file)))
}

// swapped reports whether everything is in its place.
func (r *swapRecord) swapped() bool {
	return r.phases[movesOut].Done == len(r.Out) && r.phases[movesIn].Done == len(r.In)
}

// undoing reports whether an undo has begun, and undone whether it has ended.
func (r *swapRecord) undoing() bool { return r.has(backIn) || r.has(backOut) || r.undone() }

func (r *swapRecord) undone() bool { return r.has(undoEnd) }

func (r *swapRecord) has(phase string) bool { _, ok := r.phases[phase]; return ok }

// batch is how many moves are made durable together.
const batch = 64

// run makes those moves of a phase that are not made yet. move reports whether there
// was something to move; begun says that an earlier call may have moved it.
func (r *swapRecord) run(phase string, names [][]byte, sync func() error, move func(i int, name string, begun bool) (bool, error)) error {
	for at := r.phases[phase]; at.Done < len(names); at = r.phases[phase] {
		end := min(at.Done+batch, len(names))
		next := progress{Phase: phase, Begun: max(end, at.Begun), Done: at.Done}
		if err := r.note(next); err != nil {
			return err
		}
		next.Done = end
		for i := at.Done; i < end; i++ {
			moved, err := move(i, string(names[i]), i < at.Begun)
			switch {
			case errors.Is(err, errLost) && phase == backOut: // the others shall come back
				next.Lost = append(next.Lost, i)
			case err != nil:
				return err
			case !moved:
				next.Gone = append(next.Gone, i)
			}
		}
		if err := sync(); err != nil {
			return err
		}
		if err := r.note(next); err != nil {
			return err
		}
	}
	return nil
}
