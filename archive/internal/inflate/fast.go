package inflate

import "encoding/binary"

const (
	literally = 4                          // looks for literals between two refills
	inMargin  = 16                         // of two refills
	outMargin = maxMatch + 8 + 4*literally // a match may write 7 bytes too many, a look at literals 4
	maxMatch  = 258
)

// fast decompresses as long as there is room on both sides.
//
// Of the 56 bits of a refill four looks for literals take 44 at the most, or a
// length and a distance 48 (15 + 5 + 15 + 13).
func (d *Decoder) fast(in *input, dst []byte, o int) (_ int, ended bool, err error) { //nolint:revive // its length: what it keeps in registers no call may share
	src, pos, bits, n := in.src, in.pos, in.bits, in.n
	inEnd, outEnd := len(src)-inMargin, len(dst)-outMargin
	for pos <= inEnd && o <= outEnd {
		bits |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56

		e := d.literals[bits&(1<<literalBits-1)]
		looks := 0
		for ; e>>6&3 != 0 && looks < literally; looks++ {
			bits >>= e & lengthMask
			n -= uint64(e & lengthMask)
			binary.LittleEndian.PutUint32(dst[o:], e>>8)
			o += int(e >> 6 & 3)
			e = d.literals[bits&(1<<literalBits-1)]
		}
		if looks == literally {
			continue
		}
		bits |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56

		if e&isTable != 0 {
			e = d.further(e, bits)
		}
		bits >>= e & lengthMask
		n -= uint64(e & lengthMask)
		if e>>6&3 != 0 { // a literal with a long code
			dst[o] = byte(e >> 8)
			o++
			continue
		}
		if e&isValue == 0 {
			if ended = e&isEnd != 0; !ended {
				err = ErrCorrupt
			}
			break
		}
		extra := uint64(e >> 8 & 31)
		length := int(e>>16) + int(bits&(1<<extra-1))
		bits >>= extra
		n -= extra

		e = d.distances[bits&(1<<distanceBits-1)]
		if e&isTable != 0 {
			e = d.furtherDistance(e, bits)
		}
		bits >>= e & lengthMask
		n -= uint64(e & lengthMask)
		extra = uint64(e >> 8 & 31)
		distance := int(e>>16) + int(bits&(1<<extra-1))
		bits >>= extra
		n -= extra
		if e&isValue == 0 || distance > o {
			err = ErrCorrupt
			break
		}
		repeat(dst, o, distance, length)
		o += length
	}
	in.pos, in.bits, in.n = pos, bits, n
	return o, ended, err
}

// repeat writes at o what lies distance before it, and up to 7 bytes more.
func repeat(dst []byte, o, distance, length int) {
	from, end := o-distance, o+length
	switch {
	case distance >= length && length > 32:
		copy(dst[o:end], dst[from:])
	case distance >= 8:
		for ; o < end; o, from = o+8, from+8 {
			binary.LittleEndian.PutUint64(dst[o:], binary.LittleEndian.Uint64(dst[from:]))
		}
	case distance == 1:
		for v := uint64(dst[from]) * 0x0101010101010101; o < end; o += 8 {
			binary.LittleEndian.PutUint64(dst[o:], v)
		}
	default:
		for ; o < end; o, from = o+1, from+1 {
			dst[o] = dst[from]
		}
	}
}
