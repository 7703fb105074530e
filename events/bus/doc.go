// Package bus puts the log, the commands, the queries and the progress of
// Holdfast on NATS JetStream. It is the only package that knows NATS and
// Watermill.
//
// # Streams
//
//	HOLDFAST_EVENTS    holdfast.evt.<project>.<kind>.<id>.<type>            kept for ever
//	HOLDFAST_COMMANDS  holdfast.cmd.<service>.<pool>.<project>.<verb>.<id>  work queue, 7 days
//	HOLDFAST_JOBS      holdfast.job.<queue>.<pool>.<project>                work queue: copies of events that ask for long work
//	HOLDFAST_DLQ       holdfast.dlq.>                                       poisoned commands, 90 days
//	HOLDFAST_PROGRESS  holdfast.progress.<project>.<kind>.<id>              memory, 1 hour, last per subject
//
// # Rules
//
// Events are appended by [Log.Append] and by nothing else, always with the
// expected revision of the filter holdfast.evt.<project>.<kind>.<id>.>: on a
// replicated stream the server compares appends that are in flight by that very
// string, so a second writer with another filter, or none, would break the lock
// of all.
//
// Commands and jobs are taken by projects in turn, see the type queue.
//
// A handler may run for hours. A message is fetched for a slot that is free only,
// so nothing waits in a buffer while its acknowledgement runs out, and tells the
// server every third of AckWait that the work goes on. A stale acknowledgement
// is taken by the server as a good one, so a handler that was fenced ends with
// [events.ErrFenced] and its delivery is left alone.
package bus
