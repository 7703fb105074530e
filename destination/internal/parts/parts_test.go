package parts_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/minio/crc64nvme"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/parts"
)

const mib, gib = 1 << 20, 1 << 30

var amazon = parts.Limits{Parts: 10_000, Part: 5 * gib, Object: 5 << 40}

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		estimate     destination.Estimate
		size, chunks int // MiB
	}{{0, 16, 32}, {gib, 8, 24}, {100 * gib, 12, 24}, {230 * gib, 26, 32}, {301 * gib, 34, 40}, {1 << 40, 116, 122}, {5 << 40, 577, 583}} {
		p, err := parts.For(test.estimate, amazon)
		if err != nil || p.Size != test.size*mib || p.Chunks != test.chunks {
			t.Errorf("%d GiB: %+v, %v", test.estimate/gib, p, err)
		}
		if room := int64(p.Size) * 10_000; room < int64(test.estimate)*11/10 {
			t.Errorf("%d GiB: room for %d GiB only", test.estimate/gib, room/gib)
		}
	}
	if _, err := parts.For(5<<40+1, amazon); !errors.Is(err, destination.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func plan(t *testing.T) parts.Plan {
	p, err := parts.For(0, parts.Limits{Parts: 4, Part: gib, Object: gib})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// TestStream puts the parts together again, as they come.
func TestStream(t *testing.T) {
	for _, n := range []int{0, 1, 16*mib - 1, 16 * mib, 16*mib + 1, 64 * mib} {
		b := noise(n)
		s := parts.New(iotest.HalfReader(bytes.NewReader(b)), plan(t))
		defer s.Close()
		got := make([]byte, n)
		var mu sync.Mutex
		seen := 0
		err := s.Send(t.Context(), nil, func(_ context.Context, p *parts.Part) error {
			part, err := io.ReadAll(p.Body())
			if err != nil || len(part) != p.Size || crc64nvme.Checksum(part) != p.CRC64 {
				t.Errorf("%d: part %d: %d bytes, %v", n, p.Number, len(part), err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen++
			copy(got[(p.Number-1)*16*mib:], part)
			return nil
		})
		sum := sha256.Sum256(b)
		if sums := s.Sums(); err != nil || !bytes.Equal(got, b) || sums.Size != int64(n) || sums.SHA256 != hex.EncodeToString(sum[:]) || sums.CRC64 != crc64nvme.Checksum(b) {
			t.Errorf("%d: %v, %+v", n, err, sums)
		}
		if want := max(1, (n+16*mib-1)/(16*mib)); seen != want {
			t.Errorf("%d: %d parts, want %d", n, seen, want)
		}
	}
}

func TestSendReturnsTheFirstError(t *testing.T) {
	errSend, errRead := errors.New("send"), errors.New("read")
	s := parts.New(bytes.NewReader(noise(64*mib)), plan(t))
	defer s.Close()
	if err := s.Send(t.Context(), nil, func(context.Context, *parts.Part) error { return errSend }); !errors.Is(err, errSend) {
		t.Errorf("got %v", err)
	}
	s = parts.New(io.MultiReader(bytes.NewReader(noise(20*mib)), iotest.ErrReader(errRead)), plan(t))
	defer s.Close()
	if err := s.Send(t.Context(), nil, func(context.Context, *parts.Part) error { return nil }); !errors.Is(err, errRead) {
		t.Errorf("got %v", err)
	}
	s = parts.New(bytes.NewReader(noise(65*mib)), plan(t))
	defer s.Close()
	if err := s.Send(t.Context(), nil, func(context.Context, *parts.Part) error { return nil }); !errors.Is(err, destination.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

// TestAReleasedBodyFails: a transport that still reads must not see other bytes.
func TestAReleasedBodyFails(t *testing.T) {
	s := parts.New(bytes.NewReader(noise(20*mib)), plan(t))
	p, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body := p.Body()
	if _, err := io.ReadFull(body, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	p.Release()
	if _, err := body.Read(make([]byte, 1)); err == nil {
		t.Error("a released part was read")
	}
	last, err := s.Next(t.Context())
	if err != nil || !last.Last {
		t.Fatal(last, err)
	}
	body = last.Body()
	last.Release()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := body.Read(make([]byte, 1)); err == nil {
		t.Error("freed memory was read")
	}
}
