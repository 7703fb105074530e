package bus

import (
	"context"
	"encoding/json"

	"github.com/holdfast-dev/holdfast/events"
)

const progressPrefix = "holdfast.progress."

// Report publishes how far a has come. It never blocks and never fails: progress
// is not history.
func (b *Bus) Report(a events.Aggregate, p events.Progress) {
	data, err := json.Marshal(p)
	if err != nil {
		return
	}
	_ = b.nc.Publish(progressPrefix+a.String(), data) // the next one will get there
}

// Progress returns the newest progress of a, if there is one of the last hour.
func (b *Bus) Progress(ctx context.Context, a events.Aggregate) (events.Progress, bool) {
	var p events.Progress
	s, err := b.js.Stream(ctx, streamProgress)
	if err != nil {
		return p, false
	}
	m, err := s.GetLastMsgForSubject(ctx, progressPrefix+a.String())
	if err != nil {
		return p, false
	}
	return p, json.Unmarshal(m.Data, &p) == nil
}
