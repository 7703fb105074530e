// Package parts cuts a stream of unknown length into parts of equal size that are
// uploaded side by side, in a memory that does not grow with the stream.
//
// The size of the parts is chosen once, by the [Plan], since providers limit the
// number of parts and some want all but the last to be equal. Parts consist of
// chunks from one pool: while some are on their way the next one is read as far as
// the pool goes.
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
	Size   int // bytes of each part but the last; a multiple of a mebibyte
	Chunks int // of a mebibyte each, in memory at a time
	limits Limits
}

const (
	chunk             = 1 << 20
	minPartChunks     = 8  // chunks of a part where the estimate allows it
	unknownSizeChunks = 16 // chunks of a part without an estimate: 10,000 of them are 156 GiB
	minChunks         = 24 // chunks in memory at least: three small parts
	maxChunks         = 32 // chunks in memory at most, unless the parts are larger
	readAheadChunks   = 6  // chunks of the next part that can be read while a large one is on its way
)

// For chooses the size of parts by an estimate, so that an object a tenth larger
// still fits. It returns ErrTooLarge for what the provider cannot keep.
//
// The chunks take 24 MiB, or two parts but at most 32 MiB, up to an estimate of 230
// GiB, with 10,000 parts, and from there one part and 6 MiB: 40 MiB at 300 GiB, 122
// MiB at 1 TiB.
func For(e destination.Estimate, l Limits) (Plan, error) {
	room := int64(e) + int64(e)/10
	size := max(minPartChunks, (room+int64(l.Parts)*chunk-1)/(int64(l.Parts)*chunk))
	if e == 0 {
		size = unknownSizeChunks
	}
	if int64(e) > l.Object || size*chunk > l.Part {
		return Plan{}, fmt.Errorf("%w: about %d GiB are expected, one object can have %d GiB", destination.ErrTooLarge, e>>30, min(l.Object, l.Part*int64(l.Parts))>>30)
	}
	return Plan{Size: int(size * chunk), Chunks: int(max(minChunks, min(maxChunks, 2*size), size+readAheadChunks)), limits: l}, nil
}

// tooLarge says that a stream has outgrown its plan.
func (p Plan) tooLarge() error {
	return fmt.Errorf("%w: it has more than the %d parts of %d MiB that were planned; the next attempt needs a better estimate", destination.ErrTooLarge, p.limits.Parts, p.Size/chunk)
}
