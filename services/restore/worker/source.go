package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// source is an archive at its destination. It is read in chunks, some of them
// ahead, and only where something is asked for.
type source struct {
	size      int64
	fetch     func(offset, n int64) ([]byte, error)
	plain     io.ReaderAt // the decrypted archive; the source itself if it is not encrypted
	plainSize int64
	manifest  archive.Manifest
	prints    []byte // fingerprint.json, if the archive has a database
	read      atomic.Int64

	mu     sync.Mutex
	whole  hash.Hash // of the chunks before noted
	noted  int64
	chunks map[int64]*chunk
	order  []int64             // of the chunks, oldest first
	last   int64               // chunk that was asked for last
	err    error               // first error of fetch
	proved [][sha256.Size]byte // sums of the chunks that were proved; nil if the manifest vouches
}

type chunk struct {
	done chan struct{}
	b    []byte
	err  error
}

const (
	chunkSize = backup.MaxRead
	chunksMax = 8 // in memory
	aheadMax  = 3 // fetched before they are asked for
)

func newSource(size int64, fetch func(offset, n int64) ([]byte, error)) *source {
	return &source{size: size, fetch: fetch, whole: sha256.New(), chunks: map[int64]*chunk{}, last: -2}
}

// ReadAt implements io.ReaderAt.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= s.size {
			return n, io.EOF
		}
		c := s.get(at / chunkSize)
		<-c.done
		if c.err != nil {
			return n, c.err
		}
		s.note(at/chunkSize, c.b)
		n += copy(p[n:], c.b[at%chunkSize:])
	}
	return n, nil
}

// get returns a chunk and, when chunks are read one after another, begins to fetch
// the next ones.
func (s *source) get(i int64) *chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.start(i)
	if i == s.last || i == s.last+1 {
		for k := i + 1; k <= i+aheadMax && k*chunkSize < s.size; k++ {
			s.start(k)
		}
	}
	s.last = i
	return c
}

func (s *source) start(i int64) *chunk {
	if c, ok := s.chunks[i]; ok {
		return c
	}
	c := &chunk{done: make(chan struct{})}
	s.chunks[i], s.order = c, append(s.order, i)
	if len(s.order) > chunksMax {
		delete(s.chunks, s.order[0])
		s.order = s.order[1:]
	}
	go func() { // ends with its fetch, which has a deadline
		defer close(c.done)
		n := min(chunkSize, s.size-i*chunkSize)
		c.b, c.err = s.fetch(i*chunkSize, n)
		s.read.Add(int64(len(c.b)))
		if c.err == nil && int64(len(c.b)) != n {
			c.err = &archiveError{fmt.Errorf("it ends early, after %d bytes", i*chunkSize+int64(len(c.b)))}
		}
		if c.err == nil && !s.holds(i, c.b) {
			c.err = &archiveError{errSwapped}
		}
		if c.err != nil {
			s.mu.Lock()
			s.err = errors.Join(s.err, c.err)
			s.mu.Unlock()
		}
	}()
	return c
}

// errChanged says that the destination holds something else than what was stored.
var errChanged = errors.New("it is not the one that was stored: its checksum is another than the one in the event log; look who may write to the destination, and restore another backup")

// errSwapped says that the object was replaced while it was read.
var errSwapped = errors.New("it was changed at its destination while it was read")

// prove reads the whole object and compares its SHA-256 with the one that the log
// holds. Every chunk that is read later must be the one that was proved.
func (s *source) prove(want string) error {
	whole := sha256.New()
	var sums [][sha256.Size]byte
	for i := int64(0); i*chunkSize < s.size; i++ {
		c := s.get(i)
		<-c.done
		if c.err != nil {
			return c.err
		}
		_, _ = whole.Write(c.b) // has no errors
		sums = append(sums, sha256.Sum256(c.b))
	}
	if want == "" || hex.EncodeToString(whole.Sum(nil)) != want {
		return &archiveError{errChanged}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proved = sums
	return nil
}

// note adds a chunk that was read to the sum of the whole, if it is the next one: parts
// that are all read in the order of the archive need no reading of their own for that.
func (s *source) note(i int64, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i == s.noted {
		_, _ = s.whole.Write(b) // has no errors
		s.noted++
	}
}

// compare reads what nobody has read of the object and compares the sum of the whole
// with the one that the log holds.
func (s *source) compare(want string) error {
	s.mu.Lock()
	next := s.noted
	s.mu.Unlock()
	if s.proved != nil {
		return nil
	}
	for b := make([]byte, 1); next*chunkSize < s.size; next++ {
		if _, err := s.ReadAt(b, next*chunkSize); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if hex.EncodeToString(s.whole.Sum(nil)) != want {
		return &archiveError{errChanged}
	}
	return nil
}

// ends looks whether the object is as long as the log says.
func (s *source) ends() error {
	b, err := s.fetch(s.size-1, 2)
	if err == nil && len(b) != 1 {
		err = &archiveError{errChanged}
	}
	return err
}

// holds reports whether a chunk is the one that was proved, if any was.
func (s *source) holds(i int64, b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proved == nil || s.proved[i] == sha256.Sum256(b)
}

// failure returns why the destination could not be read, if it could not.
func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// explain returns the error of the destination rather than what it led to.
func (s *source) explain(err error) error {
	if err == nil {
		return nil
	}
	if f := s.failure(); f != nil {
		return f
	}
	return err
}

// part returns a part of the archive.
func (s *source) part(name string) (archive.Part, bool) {
	i := slices.IndexFunc(s.manifest.Parts, func(p archive.Part) bool { return p.Name == name })
	if i < 0 {
		return archive.Part{}, false
	}
	return s.manifest.Parts[i], true
}

// verify reads parts to their end, but for the databases, which were read before.
func (s *source) verify(parts []string) error {
	for _, name := range parts {
		if name == project.Database {
			continue
		}
		p, _ := s.part(name)
		r := archive.NewPartReader(s.plain, p)
		for {
			_, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
