package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Unknown is an event of a type that this program does not know. Projections
// ignore it; nothing is lost, because it keeps the raw data.
type Unknown struct {
	Type string // such as "backup.frozen.v1"
	Data json.RawMessage
}

// EventType implements [Event].
func (u Unknown) EventType() string { return u.Type }

// ErrBroken is wrapped by the errors of [Unmarshal].
var ErrBroken = errors.New("events: an event cannot be decoded")

// Broken is an event that cannot be decoded, such as one that another program has
// written. Who reads the whole log goes on behind it; the aggregate that it belongs to
// cannot be relied on.
type Broken struct {
	Type string // what it says that it is; may be empty
	Err  error
}

// EventType implements [Event].
func (b Broken) EventType() string { return b.Type }

// Known reports whether this program can decode events of a type.
func Known(eventType string) bool { return decoders[eventType] != nil }

// decoders has a row for every event type.
var decoders = map[string]func([]byte) (Event, error){
	"backup.requested.v1":         decode[BackupRequested],
	"backup.rejected.v1":          decode[BackupRejected],
	"backup.started.v1":           decode[BackupStarted],
	"backup.completed.v1":         decode[BackupCompleted],
	"backup.failed.v1":            decode[BackupFailed],
	"backup.cancel_requested.v1":  decode[BackupCancelRequested],
	"backup.cancelled.v1":         decode[BackupCancelled],
	"backup.verified.v1":          decode[BackupVerified],
	"backup.adopted.v1":           decode[BackupAdopted],
	"backup.held.v1":              decode[BackupHeld],
	"backup.released.v1":          decode[BackupReleased],
	"backup.delete_requested.v1":  decode[BackupDeleteRequested],
	"backup.delete_failed.v1":     decode[BackupDeleteFailed],
	"backup.deleted.v1":           decode[BackupDeleted],
	"restore.requested.v1":        decode[RestoreRequested],
	"restore.rejected.v1":         decode[RestoreRejected],
	"restore.started.v1":          decode[RestoreStarted],
	"restore.stage_completed.v1":  decode[RestoreStageCompleted],
	"restore.completed.v1":        decode[RestoreCompleted],
	"restore.failed.v1":           decode[RestoreFailed],
	"restore.cancel_requested.v1": decode[RestoreCancelRequested],
	"restore.cancelled.v1":        decode[RestoreCancelled],
	"restore.undo_requested.v1":   decode[RestoreUndoRequested],
	"restore.undone.v1":           decode[RestoreUndone],
	"restore.undo_failed.v1":      decode[RestoreUndoFailed],
	"restore.old_dropped.v1":      decode[RestoreOldDropped],
	"project.registered.v1":       decode[ProjectRegistered],
	"project.removed.v1":          decode[ProjectRemoved],
	"slot.acquired.v1":            decode[SlotAcquired],
	"slot.released.v1":            decode[SlotReleased],
	"log.accepted.v1":             decode[LogAccepted],
	"request.claimed.v1":          decode[RequestClaimed],
}

func decode[E Event](data []byte) (Event, error) {
	var e E
	err := json.Unmarshal(data, &e)
	if c, ok := any(e).(checked); ok && err == nil {
		err = c.check()
	}
	return e, err
}

const typePrefix = "dev.holdfast."

// Headers of an event in CloudEvents 1.0 binary mode, and Holdfast's own.
const (
	headerSpec        = "ce-specversion"
	headerID          = "ce-id"
	headerSource      = "ce-source"
	headerType        = "ce-type"
	headerTime        = "ce-time"
	headerSubject     = "ce-subject"
	headerContent     = "ce-datacontenttype"
	headerCorrelation = "correlation-id"
	headerCausation   = "causation-id"
	headerActor       = "actor"

	// The same as extension attributes, for software that knows CloudEvents only.
	extCorrelation = "ce-correlationid"
	extCausation   = "ce-causationid"
	extActor       = "ce-actor"
)

// Marshal returns an event as CloudEvents 1.0 binary-mode headers and JSON
// data. The revision is not part of it: the log gives it.
func Marshal(e Envelope) (map[string]string, []byte, error) {
	data, err := json.Marshal(e.Event)
	if u, ok := e.Event.(Unknown); ok {
		data, err = u.Data, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("encode %s: %w", e.Event.EventType(), err)
	}
	h := map[string]string{
		headerSpec:    "1.0",
		headerID:      e.ID,
		headerSource:  "/holdfast/" + e.Aggregate.Project,
		headerType:    typePrefix + e.Event.EventType(),
		headerTime:    e.Time.UTC().Format(time.RFC3339Nano),
		headerSubject: e.Aggregate.Kind + "/" + e.Aggregate.ID,
		headerContent: "application/json",
	}
	for k, v := range map[string]string{
		headerCorrelation: e.CorrelationID, headerCausation: e.CausationID, headerActor: e.Actor,
		extCorrelation: e.CorrelationID, extCausation: e.CausationID, extActor: e.Actor,
	} {
		if v != "" {
			h[k] = v
		}
	}
	return h, data, nil
}

// Unmarshal is the inverse of [Marshal]; get returns a header or "". An event of
// an unknown type becomes an [Unknown]. Numbers and times outside of their limits,
// see [MaxBytes], are an error. With an error, which wraps [ErrBroken], the
// event is a [Broken].
func Unmarshal(a Aggregate, r Revision, get func(string) string, data []byte) (Envelope, error) {
	e, err := unmarshal(a, r, get, data)
	if err != nil {
		err = fmt.Errorf("%w: revision %d: %w", ErrBroken, r, err)
		e.Event = Broken{Type: strings.TrimPrefix(get(headerType), typePrefix), Err: err}
	}
	return e, err
}

func unmarshal(a Aggregate, r Revision, get func(string) string, data []byte) (Envelope, error) {
	e := Envelope{ID: get(headerID), Aggregate: a, Revision: r, Cause: Cause{
		CorrelationID: get(headerCorrelation), CausationID: get(headerCausation), Actor: get(headerActor),
	}}
	typ, ok := strings.CutPrefix(get(headerType), typePrefix)
	if !ok {
		return e, fmt.Errorf("%s %q is not one of Holdfast's", headerType, get(headerType))
	}
	var err error
	if e.Time, err = time.Parse(time.RFC3339Nano, get(headerTime)); err != nil {
		return e, fmt.Errorf("%s: %w", headerTime, err)
	}
	if err := CheckTime(headerTime, e.Time); err != nil {
		return e, err
	}
	dec, ok := decoders[typ]
	if !ok {
		e.Event = Unknown{Type: typ, Data: append(json.RawMessage(nil), data...)}
		return e, nil
	}
	if e.Event, err = dec(data); err != nil {
		return e, fmt.Errorf("decode %s: %w", typ, err)
	}
	return e, nil
}
