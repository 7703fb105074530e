package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// download answers GET and HEAD /backups/:id/download.
func (g *Gateway) download(c *fiber.Ctx) error {
	b, err := g.find(c)
	if err != nil {
		return err
	}
	state, err := fold[backup.State](c.UserContext(), g, events.BackupAggregate(b.Project, b.ID), b.Revision)
	if err != nil {
		return err
	}
	if err := backup.Readable(state); err != nil {
		return err
	}
	redirect, err := oneOf(c, "redirect", []string{"true", "false"})
	if err != nil {
		return err
	}
	if redirect == "true" {
		if url := g.signed(c, b); url != "" {
			return c.Redirect(url, fiber.StatusFound)
		}
	}
	etag := describe(c, b)
	if matches(headerList(c, fiber.HeaderIfNoneMatch), etag) {
		return c.SendStatus(fiber.StatusNotModified)
	}
	from, to, err := askedRange(c, etag, b.Size)
	if err != nil {
		return err
	}
	if c.Method() == fiber.MethodHead {
		c.Response().SkipBody = true
		c.Response().Header.SetContentLength(int(to - from))
		return nil
	}
	return g.stream(c, b, from, to)
}

// askedRange returns which bytes a request asks for, and says so in the answer.
func askedRange(c *fiber.Ctx, etag string, size int64) (from, to int64, err error) {
	header := c.Get(fiber.HeaderRange)
	if c.Method() != fiber.MethodGet {
		header = "" // RFC 9110, 14.2
	}
	if ifRange := c.Get(fiber.HeaderIfRange); ifRange != "" && ifRange != etag {
		header = "" // the client's piece is of another object
	}
	from, to, partial, err := parseRange(header, size)
	if err != nil {
		asError(c)
		c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes */%d", size))
		return 0, 0, err
	}
	if partial {
		c.Status(fiber.StatusPartialContent)
		c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes %d-%d/%d", from, to-1, size))
	}
	return from, to, nil
}

// stream answers with the bytes of an archive as they come.
func (g *Gateway) stream(c *fiber.Ctx, b catalog.Backup, from, to int64) error {
	release, err := g.downloads.takeFor(keyOf(c), "downloads that run", "try again when one has ended")
	if err != nil {
		asError(c)
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	id := requestIDOf(c)
	r := &chunks{
		from: from, to: to, left: to - from, next: make(chan chan piece, ahead),
		end: sync.OnceFunc(func() { cancel(); release() }),
	}
	r.broke = func(err error) {
		g.cfg.Logger.Error("download broke off", logging.Backup(b.ID), zap.String("request_id", id), zap.Error(err))
	}
	if from == 0 && to == b.Size {
		r.sum, r.want = sha256.New(), b.SHA256
	}
	ask := func(offset, n int64) ([]byte, error) {
		p, err := g.b.Archive(ctx, b.Pool, backup.ArchiveRead{Destination: b.Destination, Key: b.Key, Offset: offset, Length: n})
		if err == nil && int64(len(p)) != n {
			err = fault.Wrap(fmt.Errorf("%d bytes at %d, want %d", len(p), offset, n), fault.BadArchive, "The archive at the destination is shorter than it was stored; verify the backup")
		}
		return p, err
	}
	go r.fetch(ctx, ask)
	err = r.begin()
	if err == nil && to-from > backup.MaxRead { // an object that was cut off is noticed while the answer can still say so
		_, err = ask(to-1, 1)
	}
	if err != nil {
		r.end()
		asError(c)
		return err
	}
	c.Context().SetBodyStream(r, int(to-from))
	return nil
}

// asError takes back what an answer has said of an archive that it will not carry.
func asError(c *fiber.Ctx) {
	c.Status(fiber.StatusOK)
	c.Set(fiber.HeaderCacheControl, "no-store")
	for _, h := range []string{fiber.HeaderContentRange, fiber.HeaderContentDisposition, fiber.HeaderETag, fiber.HeaderAcceptRanges} {
		c.Response().Header.Del(h)
	}
}

// signedFor is how long a URL of the destination itself is good.
const signedFor = 15 * time.Minute

// signed returns a URL at the destination itself, or "" where there is none.
func (g *Gateway) signed(c *fiber.Ctx, b catalog.Backup) string {
	name, _ := fileName(b)
	url, err := g.b.Sign(c.UserContext(), b.Pool, backup.ArchiveSign{Destination: b.Destination, Key: b.Key, Name: name, Valid: signedFor})
	if err != nil {
		return "" // the archive can still be streamed, or that says why not
	}
	return url
}

// fileName returns under which name, and as what, an archive is downloaded.
func fileName(b catalog.Backup) (name, typ string) {
	name = fmt.Sprintf("%s-%s-%s.tar.gz", b.Project, b.Created.UTC().Format(time.DateOnly), b.Type)
	if b.Encrypted {
		return name + ".age", fiber.MIMEOctetStream
	}
	return name, "application/gzip"
}

// describe sets the headers of an archive and returns its tag.
func describe(c *fiber.Ctx, b catalog.Backup) (etag string) {
	name, typ := fileName(b)
	etag = `"` + b.SHA256 + `"`
	c.Set(fiber.HeaderContentType, typ)
	c.Set(fiber.HeaderContentDisposition, `attachment; filename="`+name+`"`)
	c.Set(fiber.HeaderETag, etag)
	c.Set(fiber.HeaderCacheControl, "private, no-cache") // a client may keep it, and asks whether it still may have it
	c.Set(fiber.HeaderAcceptRanges, "bytes")
	return etag
}

// parseRange reads one range of bytes (RFC 9110, 14.2). Several at a time are
// answered with the whole, which the RFC allows.
func parseRange(header string, size int64) (from, to int64, partial bool, err error) {
	unit, spec, ok := strings.Cut(strings.TrimSpace(header), "=")
	if !ok || !strings.EqualFold(unit, "bytes") || strings.Contains(spec, ",") {
		return 0, size, false, nil
	}
	bad := fault.Errorf(fault.BadRange, "The range does not lie within the %d bytes of the archive", size)
	a, b, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return 0, 0, false, bad
	}
	if a == "" { // the last b bytes
		n, ok := position(b)
		if !ok || n == 0 {
			return 0, 0, false, bad
		}
		return max(0, size-n), size, true, nil
	}
	from, ok = position(a)
	if !ok || from >= size {
		return 0, 0, false, bad
	}
	to = size
	if b != "" {
		last, ok := position(b)
		if !ok || last < from {
			return 0, 0, false, bad
		}
		to = min(size-1, last) + 1
	}
	return from, to, true, nil
}

// position reads digits, however many: what is beyond the largest number is beyond the
// end of every archive as well.
func position(digits string) (int64, bool) {
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	return n, true
}

// headerList returns a header that is a list, which may be spread over several lines.
func headerList(c *fiber.Ctx, name string) string {
	var lines []string
	for _, v := range c.Request().Header.PeekAll(name) {
		lines = append(lines, string(v))
	}
	return strings.Join(lines, ", ")
}

// matches reports whether a header If-None-Match names a tag (RFC 9110, 13.1.2).
func matches(header, etag string) bool {
	if strings.TrimSpace(header) == "*" {
		return true
	}
	for tag := range strings.SplitSeq(header, ",") {
		if strings.TrimPrefix(strings.TrimSpace(tag), "W/") == etag {
			return true
		}
	}
	return false
}

// ahead is how many chunks are under way at a time.
const ahead = 3

type piece struct {
	b   []byte
	err error
}

// chunks is a range of an archive that is asked for in pieces, some ahead. It is
// closed by the HTTP server.
type chunks struct {
	from, to int64
	next     chan chan piece // in order
	cur      []byte
	left     int64     // bytes that no piece has brought yet
	sum      hash.Hash // of what came so far; nil when only a part is asked for
	want     string    // what the log says that sum is in the end
	end      func()
	broke    func(error) // is told why the rest does not come
}

// begin waits for the first piece, if there is one.
func (r *chunks) begin() error {
	if r.from >= r.to {
		return nil
	}
	return r.take(<-<-r.next)
}

// take takes a piece in. The last one of a whole archive is held back unless the
// archive is the one that was stored: no client gets a whole file that is another.
func (r *chunks) take(p piece) error {
	if p.err != nil {
		return p.err
	}
	r.left -= int64(len(p.b))
	if r.sum != nil {
		_, _ = r.sum.Write(p.b) // has no errors
		if r.left == 0 && hex.EncodeToString(r.sum.Sum(nil)) != r.want {
			return fault.Errorf(fault.BadArchive, "The archive at the destination is not the one that was stored: its checksum is another than the one in the event log")
		}
	}
	r.cur = p.b
	return nil
}

// fetch asks for one piece after another until ctx ends.
func (r *chunks) fetch(ctx context.Context, ask func(offset, n int64) ([]byte, error)) {
	defer close(r.next)
	for off := r.from; off < r.to; off += backup.MaxRead {
		n := min(backup.MaxRead, r.to-off)
		p := make(chan piece, 1)
		select {
		case r.next <- p:
		case <-ctx.Done():
			return
		}
		go func() {
			b, err := ask(off, n)
			p <- piece{b, err}
		}()
	}
}

// Read implements io.Reader. An error cuts the connection, so that the client
// knows that something is missing and may resume.
func (r *chunks) Read(p []byte) (int, error) {
	for len(r.cur) == 0 {
		next, ok := <-r.next
		if !ok {
			return 0, io.EOF
		}
		if err := r.take(<-next); err != nil {
			r.broke(err)
			return 0, err
		}
	}
	n := copy(p, r.cur)
	r.cur = r.cur[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *chunks) Close() error {
	r.end()
	return nil
}
