package inflate_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/archive/internal/inflate"
)

// contents are what is compressed in the tests.
func contents() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise, hex, skewed := make([]byte, 300_000), make([]byte, 300_000), make([]byte, 1<<20)
	for i := range noise {
		noise[i], hex[i] = byte(r.Uint32()), "0123456789abcdef"[r.IntN(16)]
	}
	for i := range skewed { // has codes of all lengths
		skewed[i] = byte(min(255, r.ExpFloat64()*12))
	}
	var rows bytes.Buffer
	for rows.Len() < 1<<20 {
		rows.WriteString("4f1c\t2025-01-0" + string('1'+rune(r.IntN(9))) + "\tpaid\t" + string(hex[r.IntN(1000):][:r.IntN(40)]) + "\n")
	}
	return map[string][]byte{
		"nothing": {}, "a byte": {7}, "noise": noise, "hex": hex, "skewed": skewed, "rows": rows.Bytes(),
		"zeros": make([]byte, 1<<20), "a short period": []byte(strings.Repeat("abc", 100_000)), "a long period": bytes.Repeat(noise[:20_000], 30),
	}
}

func deflate(tb testing.TB, b []byte, level int) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(b[:len(b)/2]); err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(w.Flush(), func() error { _, err := w.Write(b[len(b)/2:]); return err }(), w.Close()); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestDecode(t *testing.T) {
	var d inflate.Decoder
	for name, want := range contents() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 2, 6, 9} {
			src := deflate(t, want, level)
			for _, slack := range []int{0, 1, inflate.Slack} {
				dst := make([]byte, len(want)+slack)
				n, used, err := d.Decode(dst, append(bytes.Clone(src), "behind it"...))
				if err != nil || used != len(src) || !bytes.Equal(dst[:n], want) {
					t.Fatalf("%s, level %d, slack %d: %d bytes of %d, used %d of %d: %v", name, level, slack, n, len(want), used, len(src), err)
				}
			}
			if len(want) == 0 {
				continue
			}
			if _, _, err := d.Decode(make([]byte, len(want)-1), src); !errors.Is(err, inflate.ErrRoom) {
				t.Errorf("%s, level %d: without room: %v", name, level, err)
			}
			for cut := 0; cut < len(src); cut += 1 + cut/20 {
				if _, _, err := d.Decode(make([]byte, len(want)+inflate.Slack), src[:cut]); !errors.Is(err, inflate.ErrCorrupt) {
					t.Errorf("%s, level %d: cut off after %d: %v", name, level, cut, err)
				}
			}
		}
	}
}

// TestFixed decompresses blocks with the fixed codes, which writers choose for short
// contents only.
func TestFixed(t *testing.T) {
	var d inflate.Decoder
	for n := range 300 {
		want := bytes.Repeat([]byte{byte(n), 'a', 255}, n/30+1)
		src := deflate(t, want, 9)
		dst := make([]byte, len(want)+inflate.Slack)
		got, _, err := d.Decode(dst, src)
		if err != nil || !bytes.Equal(dst[:got], want) {
			t.Fatalf("%d: %v", n, err)
		}
	}
}

// fixedBits writes a block with the fixed codes: pairs of a code and how many bits it
// has, as RFC 1951 writes them, highest bit first.
func fixedBits(codes ...[2]int) []byte {
	var out []byte
	at := 0
	bit := func(b int) {
		if at%8 == 0 {
			out = append(out, 0)
		}
		out[at/8] |= byte(b << (at % 8))
		at++
	}
	for _, b := range []int{1, 1, 0} { // the last block, fixed codes
		bit(b)
	}
	for _, c := range codes {
		for i := c[1] - 1; i >= 0; i-- {
			bit(c[0] >> i & 1)
		}
	}
	return out
}

// TestBadReferences decompresses what refers to nothing, where there is room for the
// fast way and where there is not.
func TestBadReferences(t *testing.T) {
	var d inflate.Decoder
	a, three, end := [2]int{0x30 + 'a', 8}, [2]int{1, 7}, [2]int{0, 7} // a literal, a length of three, the end
	for name, c := range map[string]struct {
		src []byte
		bad bool
	}{
		"the byte before":    {fixedBits(a, three, [2]int{0, 5}, end), false},
		"before the front":   {fixedBits(a, three, [2]int{1, 5}, end), true},
		"further away":       {fixedBits(a, three, [2]int{4, 5}, [2]int{0, 1}, end), true},
		"as far as possible": {fixedBits(a, three, [2]int{29, 5}, [2]int{0x1fff, 13}, end), true},
		"distance 30":        {fixedBits(a, three, [2]int{30, 5}, end), true},
		"length 286":         {fixedBits(a, [2]int{0xc0 + 6, 8}, [2]int{0, 5}, end), true},
	} {
		for _, behind := range []int{0, 64} {
			dst := make([]byte, 4+inflate.Slack)
			n, _, err := d.Decode(dst, append(bytes.Clone(c.src), make([]byte, behind)...))
			if c.bad && !errors.Is(err, inflate.ErrCorrupt) || !c.bad && (err != nil || string(dst[:n]) != "aaaa") {
				t.Errorf("%s, %d bytes behind it: %q, %v", name, behind, dst[:n], err)
			}
		}
	}
}

// FuzzDecode compares with the standard library: both take the same and refuse the same.
func FuzzDecode(f *testing.F) {
	for _, b := range contents() {
		b = b[:min(len(b), 3000)]
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 9} {
			f.Add(deflate(f, b, level))
		}
	}
	const room = 1 << 20
	var d inflate.Decoder
	dst := make([]byte, room+inflate.Slack)
	f.Fuzz(func(t *testing.T, src []byte) {
		r := bytes.NewReader(src)
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(r), room+1))
		n, used, err := d.Decode(dst, src)
		switch {
		case len(want) > room: // it may be corrupt behind it
			if err == nil && n <= room {
				t.Errorf("%d bytes, want more than %d", n, room)
			}
		case (err == nil) != (wantErr == nil):
			t.Errorf("%v, want %v", err, wantErr)
		case err == nil && (!bytes.Equal(dst[:n], want) || used != len(src)-r.Len()):
			t.Errorf("%d bytes of %d used, want %d of %d", n, used, len(want), len(src)-r.Len())
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, want := range contents() {
		src := deflate(b, want, 2)
		b.Run(name, func(b *testing.B) {
			var d inflate.Decoder
			dst := make([]byte, len(want)+inflate.Slack)
			b.SetBytes(int64(len(want)))
			for b.Loop() {
				if _, _, err := d.Decode(dst, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
