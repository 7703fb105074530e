package inflate

import "math/bits"

// An entry of a table is what the next bits of the input say. Its lowest six bits
// are how many of them it takes. Then:
//
//   - one to three literals: their number in bits 6 and 7, themselves from 8 on.
//     For all others this number is 0
//   - a length or a distance: isValue; the number of extra bits from 8 on, to be
//     added to the value from 16 on
//   - the end of a block: isEnd
//   - a longer code: isTable; how many more bits choose from 8 on, the place of
//     the further table from 16 on
//   - nothing of these: no such code
const (
	lengthMask = 63
	one        = 1 << 6
	isValue    = 1 << 13
	isEnd      = 1 << 14
	isTable    = 1 << 15

	literalBits  = 11
	distanceBits = 8
	orderBits    = 7

	maxLiterals  = 288
	maxDistances = 32
	maxLength    = 15
)

var (
	literalEntries  = newLiterals()
	distanceEntries = newDistances()
	orderEntries    = newOrders()
)

// newLiterals returns the entries of literals and lengths (RFC 1951, 3.2.5), but for
// how many bits they take.
func newLiterals() (t [maxLiterals]uint32) {
	for i := range 256 {
		t[i] = one | uint32(i)<<8
	}
	t[256] = isEnd
	base := uint32(3)
	for i := range uint32(28) {
		extra := max(i/4, 1) - 1
		t[257+i] = isValue | extra<<8 | base<<16
		base += 1 << extra
	}
	t[285] = isValue | maxMatch<<16
	return t
}

func newDistances() (t [maxDistances]uint32) {
	base := uint32(1)
	for i := range uint32(30) {
		extra := max(i/2, 1) - 1
		t[i] = isValue | extra<<8 | base<<16
		base += 1 << extra
	}
	return t
}

func newOrders() (t [19]uint32) {
	for i := range t {
		t[i] = isValue | uint32(i)<<16
	}
	return t
}

// build makes a table of the canonical code with these lengths, and reports whether
// there is one. A code of nothing and one of a single bit are allowed.
func build(table []uint32, root int, lengths []uint8, entries []uint32) bool {
	var count [maxLength + 1]int
	for _, l := range lengths {
		count[l]++
	}
	clear(table[:1<<root])
	longest := maxLength
	for longest > 0 && count[longest] == 0 {
		longest--
	}
	var next [maxLength + 2]int // where in sorted the codes of a length go
	left := 1
	for l := 1; l <= maxLength; l++ {
		if left = left<<1 - count[l]; left < 0 {
			return false
		}
		next[l+1] = next[l] + count[l]
	}
	if left > 0 && (longest > 1 || longest == 1 && count[1] != 1) {
		return false
	}
	var sorted [maxLiterals]uint16
	for sym, l := range lengths {
		if l > 0 {
			sorted[next[l]] = uint16(sym)
			next[l]++
		}
	}
	fill(table, root, count, longest, sorted[:], entries)
	return true
}

// fill writes the entries of a code; sorted are its symbols in their order. Codes
// longer than root lie in further tables, which are as large as they have to be.
func fill(table []uint32, root int, count [maxLength + 1]int, longest int, sorted []uint16, entries []uint32) {
	code, free := 0, 1<<root
	prefix, sub := -1, 0
	for l := 1; l <= longest; l++ {
		code <<= 1
		for ; count[l] > 0; count[l]-- {
			entry := entries[sorted[0]]
			sorted = sorted[1:]
			if entry != 0 {
				entry |= uint32(l)
			}
			at := int(bits.Reverse16(uint16(code)) >> (16 - l)) // codes come highest bit first
			code++
			if l <= root {
				for ; at < 1<<root; at += 1 << l {
					table[at] = entry
				}
				continue
			}
			if p := at & (1<<root - 1); p != prefix {
				prefix, sub = p, l-root
				for left := 1<<sub - count[l]; left > 0 && sub+root < longest; {
					sub++
					left = left<<1 - count[sub+root]
				}
				table[prefix] = isTable | uint32(sub)<<8 | uint32(free)<<16
				clear(table[free : free+1<<sub])
				free += 1 << sub
			}
			begin := int(table[prefix] >> 16)
			for i := at >> root; i < 1<<sub; i += 1 << (l - root) {
				table[begin+i] = entry
			}
		}
	}
}

// further looks into the table to which an entry refers.
func (d *Decoder) further(e uint32, bits uint64) uint32 {
	return d.literals[(uint64(e>>16)+bits>>literalBits&(1<<(e>>8&15)-1))&uint64(len(d.literals)-1)]
}

func (d *Decoder) furtherDistance(e uint32, bits uint64) uint32 {
	return d.distances[(uint64(e>>16)+bits>>distanceBits&(1<<(e>>8&15)-1))&uint64(len(d.distances)-1)]
}

// double lets entries of the first table hold as many literals as fit.
func (d *Decoder) double() {
	for i := 1<<literalBits - 1; i >= 0; i-- { // what lies below has one still
		e := d.literals[i]
		if e>>6&3 == 0 {
			continue
		}
		length := e & lengthMask
		for count := uint32(1); count < 3; count++ {
			next := d.literals[i>>length]
			if next>>6&3 != 1 || length+next&lengthMask > literalBits {
				break
			}
			length += next & lengthMask
			e = e&^(3<<6|lengthMask) | (count+1)<<6 | length | next>>8&0xff<<(8+8*count)
		}
		d.literals[i] = e
	}
}

// fix puts the tables of the fixed codes (RFC 1951, 3.2.6) in place.
func (d *Decoder) fix() {
	if d.fixed {
		return
	}
	lengths := d.lengths[:maxLiterals]
	for i := range lengths {
		switch {
		case i < 144 || i >= 280:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		default:
			lengths[i] = 7
		}
	}
	build(d.literals[:], literalBits, lengths, literalEntries[:])
	d.double()
	lengths = d.lengths[:maxDistances]
	for i := range lengths {
		lengths[i] = 5
	}
	build(d.distances[:], distanceBits, lengths, distanceEntries[:])
	d.fixed = true
}

// order is in which the lengths of the code of lengths come.
var order = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// tables reads the codes of a block (RFC 1951, 3.2.7).
func (d *Decoder) tables(in *input) error {
	d.fixed = false
	in.refill()
	literals, distances, orders := int(in.take(5))+257, int(in.take(5))+1, int(in.take(4))+4
	if in.short() || literals > 286 || distances > 30 {
		return ErrCorrupt
	}
	var lengths [19]uint8
	for _, i := range order[:orders] {
		in.refill()
		lengths[i] = uint8(in.take(3))
	}
	var table [1 << orderBits]uint32
	if in.short() || !build(table[:], orderBits, lengths[:], orderEntries[:]) {
		return ErrCorrupt
	}
	all := d.lengths[:literals+distances]
	for i := 0; i < len(all); {
		in.refill()
		e := table[in.bits&(1<<orderBits-1)]
		in.take(uint64(e & lengthMask))
		if e == 0 || in.short() {
			return ErrCorrupt
		}
		length, times := uint8(e>>16), 1
		switch {
		case length == 16 && i == 0:
			return ErrCorrupt
		case length == 16:
			length, times = all[i-1], 3+int(in.take(2))
		case length == 17:
			length, times = 0, 3+int(in.take(3))
		case length == 18:
			length, times = 0, 11+int(in.take(7))
		}
		if in.short() || times > len(all)-i {
			return ErrCorrupt
		}
		for range times {
			all[i] = length
			i++
		}
	}
	if !build(d.literals[:], literalBits, all[:literals], literalEntries[:]) || !build(d.distances[:], distanceBits, all[literals:], distanceEntries[:]) {
		return ErrCorrupt
	}
	d.double()
	return nil
}
