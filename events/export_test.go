package events

// KnownTypes returns how many event types can be decoded.
func KnownTypes() int { return len(decoders) }
