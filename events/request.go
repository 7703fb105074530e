package events

// KindRequest is the kind of aggregates of requests that carry an Idempotency-Key.
const KindRequest = "request"

// RequestClaimed says which request an Idempotency-Key of an API key belongs to, for
// ever. It is appended before the request has any effect.
type RequestClaimed struct {
	Fingerprint string `json:"fingerprint"` // SHA-256 of route, project and body, in hex
}

// EventType implements [Event].
func (RequestClaimed) EventType() string { return "request.claimed.v1" }

// RequestAggregate returns the aggregate of an Idempotency-Key of an API key.
func RequestAggregate(apiKey, idempotencyKey string) Aggregate {
	return Aggregate{Project: System, Kind: KindRequest, ID: IDFor(KindRequest, apiKey, idempotencyKey)}
}
