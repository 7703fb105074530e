// Package events defines the facts that Holdfast publishes and the log that
// keeps them.
//
// # Vocabulary
//
// An event is a fact in the past tense. An aggregate is the thing the fact is
// about: one backup, one project, one project's slot. The log holds every event
// of every aggregate in one order; a [Revision] is a position in that order. It
// is the optimistic lock of a writer, the checkpoint of a read model and the
// token with which a client reads its own writes.
//
// On the wire an event is plain JSON beside CloudEvents headers, see
// [Marshal]. The version of an event is in its type (dev.holdfast.backup.completed.v1),
// never in its subject, and a version only ever gains fields.
//
// A [Command] asks for something; only events say that it happened.
//
// # Errors
//
// [ErrConflict] means that another writer was faster, [ErrUnavailable] that the
// log could not be reached or did not confirm. A [Handler] steers its delivery with
// [ErrFenced] and [RetryAfter].
//
// This package imports nothing but the standard library, so that other systems
// can import it alone. Package bus puts the log on NATS JetStream.
package events
