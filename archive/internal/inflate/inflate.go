// Package inflate decompresses deflate (RFC 1951) from memory into memory, up to
// twice as fast as a decompressor that has to stop wherever its input or its output
// does. The members of an archive, of 1 MiB at the most, suit it: a restore and a
// verification spend most of their time here.
//
// It works as libdeflate does (https://github.com/ebiggers/libdeflate): 64 bits are
// read ahead at once, and while there is room on both sides nothing but what is
// read is checked. As in ISA-L (https://github.com/intel/isa-l) one look into the
// table of literals finds up to three of them.
package inflate

import (
	"encoding/binary"
	"errors"
)

// ErrCorrupt is returned for what is no deflate.
var ErrCorrupt = errors.New("inflate: corrupt")

// ErrRoom is returned when there is more than dst has room for.
var ErrRoom = errors.New("inflate: more than there is room for")

// Decoder decompresses. Its zero value is ready; it is for one goroutine.
type Decoder struct {
	literals  [4096]uint32 // of literals and lengths; 2,342 are used at the most
	distances [1024]uint32 // 402 are used at the most
	lengths   [maxLiterals + maxDistances]uint8
	fixed     bool // literals and distances are the fixed ones
}

// Slack is how much longer than the content dst should be: near its end the decoder
// is slower.
const Slack = 320

// Decode decompresses one stream from the beginning of src into dst. It returns how
// many bytes it has written and how many of src it has used. What is in dst behind
// those may have changed.
func (d *Decoder) Decode(dst, src []byte) (n, used int, err error) {
	in := input{src: src}
	d.fixed = false
	for last := false; !last; {
		in.refill()
		last = in.take(1) == 1
		kind := in.take(2)
		if in.short() {
			return n, 0, ErrCorrupt
		}
		switch kind {
		case 0:
			n, err = in.stored(dst, n)
		case 1:
			d.fix()
			n, err = d.block(&in, dst, n)
		case 2:
			if err = d.tables(&in); err == nil {
				n, err = d.block(&in, dst, n)
			}
		default:
			err = ErrCorrupt
		}
		if err != nil {
			return n, 0, err
		}
	}
	return n, in.unread(), nil
}

// input is src and what was read ahead of it.
type input struct {
	src  []byte
	pos  int
	bits uint64 // the next ones lowest; above n there may be more, those of src[pos:]
	n    uint64 // how many of bits are read; wraps below 0 when the input is too short
}

// refill reads ahead at least 56 bits, and at most 63, or what there is.
func (in *input) refill() {
	for in.n < 56 && in.pos < len(in.src) {
		in.bits |= uint64(in.src[in.pos]) << (in.n & 63)
		in.pos++
		in.n += 8
	}
}

// take takes bits, which [input.refill] has read.
func (in *input) take(count uint64) uint64 {
	b := in.bits & (1<<(count&63) - 1)
	in.bits >>= count & 63
	in.n -= count
	return b
}

// short reports whether more was taken than there was.
func (in *input) short() bool { return in.n > 64 }

// unread gives back whole bytes that were read ahead, and returns where they begin.
func (in *input) unread() int {
	in.pos -= int(in.n >> 3)
	in.bits, in.n = 0, 0
	return in.pos
}

// stored copies a block that is not compressed.
func (in *input) stored(dst []byte, o int) (int, error) {
	at := in.unread()
	if len(in.src)-at < 4 {
		return o, ErrCorrupt
	}
	n := binary.LittleEndian.Uint16(in.src[at:])
	if n != ^binary.LittleEndian.Uint16(in.src[at+2:]) || len(in.src)-at-4 < int(n) {
		return o, ErrCorrupt
	}
	if len(dst)-o < int(n) {
		return o, ErrRoom
	}
	in.pos = at + 4 + int(n)
	return o + copy(dst[o:], in.src[at+4:in.pos]), nil
}

// block decompresses until the end of a block, for which the tables stand.
func (d *Decoder) block(in *input, dst []byte, o int) (int, error) {
	o, ended, err := d.fast(in, dst, o)
	for !ended && err == nil {
		o, ended, err = d.careful(in, dst, o)
	}
	return o, err
}

// careful decompresses what one look finds.
func (d *Decoder) careful(in *input, dst []byte, o int) (_ int, ended bool, err error) {
	in.refill()
	e := d.literals[in.bits&(1<<literalBits-1)]
	if e>>6&3 == 0 && e&isTable != 0 {
		e = d.further(e, in.bits)
	}
	in.take(uint64(e & lengthMask))
	switch count := e >> 6 & 3; {
	case in.short():
		return o, false, ErrCorrupt
	case count > 0:
		for ; count > 0; count-- {
			if o == len(dst) {
				return o, false, ErrRoom
			}
			e >>= 8
			dst[o] = byte(e)
			o++
		}
		return o, false, nil
	case e&isEnd != 0:
		return o, true, nil
	case e&isValue == 0:
		return o, false, ErrCorrupt
	}
	length := int(e>>16) + int(in.take(uint64(e>>8&31)))
	e = d.distances[in.bits&(1<<distanceBits-1)]
	if e&isTable != 0 {
		e = d.furtherDistance(e, in.bits)
	}
	in.take(uint64(e & lengthMask))
	distance := int(e>>16) + int(in.take(uint64(e>>8&31)))
	switch {
	case in.short(), e&isValue == 0, distance > o:
		return o, false, ErrCorrupt
	case length > len(dst)-o:
		return o, false, ErrRoom
	}
	for range length {
		dst[o] = dst[o-distance]
		o++
	}
	return o, false, nil
}
