package worker

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
)

// warnings are what a restore could not bring back as it was. They lie in a file,
// so that an attempt that goes on with the work of another has them all.
type warnings struct {
	mu  sync.Mutex
	f   *os.File
	all []archive.Warning
}

const maxKept = 10_000 // in memory; the file has them all

// openWarnings begins a list, or goes on with the one of an earlier attempt.
func openWarnings(name string, goOn bool) (*warnings, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	flags := os.O_CREATE | os.O_RDWR | os.O_APPEND
	if !goOn {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, err
	}
	ws := &warnings{f: f}
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n') // a line may be of any length: it names things
		var w archive.Warning
		if json.Unmarshal(line, &w) == nil && len(ws.all) < maxKept {
			ws.all = append(ws.all, w)
		}
		if errors.Is(err, io.EOF) {
			return ws, nil
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
}

// add takes a warning. One without a sentence only names a thing that another one
// counts.
func (ws *warnings) add(w archive.Warning) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.all) < maxKept {
		ws.all = append(ws.all, w)
	}
	if b, err := json.Marshal(w); err == nil {
		_, _ = ws.f.Write(append(b, '\n')) // the event has the first ones
	}
}

// warn takes a warning of a part. Where nobody collects them, as in an undo, the log of
// the worker has it.
func (at *attempt) warn(w archive.Warning) {
	if at.warned != nil {
		at.warned.add(w)
		return
	}
	at.l.Warn("a part warns", zap.String("part", w.Part), zap.String("code", w.Code), zap.String("name", w.Name), zap.String("sentence", w.Sentence))
}

func (ws *warnings) close() { _ = ws.f.Close() } // see add

// forEvent returns what an event may carry.
func (ws *warnings) forEvent() []events.Warning {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var out []events.Warning
	for _, w := range ws.all {
		if w.Sentence != "" {
			out = append(out, events.Warning{Code: w.Code, Count: 1, Sentence: w.Sentence})
		}
	}
	limited := events.LimitWarnings(out)
	if more := len(out) - len(limited); more > 0 {
		limited[len(limited)-1] = events.Warning{Code: "more_warnings", Count: more + 1, Sentence: fmt.Sprintf("And %d more warnings; the worker has them all in %s.", more+1, ws.f.Name())}
	}
	return limited
}
