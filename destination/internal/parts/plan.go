// Package parts cuts a stream of unknown length into parts of equal size that are
// uploaded side by side, in a memory that does not grow with the stream.
//
// The size of the parts is chosen once, by the [Plan], since providers limit the
// number of parts and some want all but the last to be equal.
package parts

import (
	"fmt"

	"github.com/holdfast-dev/holdfast/destination"
)

// Limits are those of a provider.
type Limits struct {
	Parts  int   // most parts of an object
	Part   int64 // most bytes of a part
	Object int64 // most bytes of an object
}

// Plan says how a stream is cut.
type Plan struct {
	Size    int // bytes of each part but the last
	Buffers int // parts in memory at a time
	limits  Limits
}

const (
	mib = 1 << 20
	// usual is the size of parts unless the estimate asks for more: 10,000 of them
	// are 156 GiB.
	usual = 16 * mib
	// memory is how much the buffers have in all, as long as two fit into it.
	memory = 48 * mib
)

// For chooses the size of parts by an estimate, so that an object a tenth larger
// still fits. It returns ErrTooLarge for what the provider cannot keep.
//
// The buffers take 48 MiB up to an estimate of 142 GiB, with 10,000 parts, and
// from there two parts: 68 MiB at 300 GiB, 229 MiB at 1 TiB.
func For(e destination.Estimate, l Limits) (Plan, error) {
	room := int64(e) + int64(e)/10
	size := max(usual, (room+int64(l.Parts)-1)/int64(l.Parts))
	size = (size + mib - 1) / mib * mib
	if int64(e) > l.Object || size > l.Part {
		return Plan{}, fmt.Errorf("%w: about %d GiB are expected, one object can have %d GiB", destination.ErrTooLarge, e>>30, min(l.Object, l.Part*int64(l.Parts))>>30)
	}
	return Plan{Size: int(size), Buffers: int(max(2, memory/size)), limits: l}, nil
}

// tooLarge says that a stream has outgrown its plan.
func (p Plan) tooLarge() error {
	return fmt.Errorf("%w: it has more than the %d parts of %d MiB that were planned; the next attempt needs a better estimate", destination.ErrTooLarge, p.limits.Parts, p.Size/mib)
}
