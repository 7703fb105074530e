package gateway_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/services/backup"
)

// download begins a download and reads the first bytes of the answer only.
func (s *server) download(path string) net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() }) // a second time where the test has closed it
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nConnection: close\r\n\r\n", path, writer)
	if _, err := io.ReadFull(conn, make([]byte, begun)); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

const (
	begun     = 4096     // bytes of an answer that download reads
	places    = 16       // downloads at a time
	probe     = 10       // bytes that allPlacesAreFree asks for
	largeFile = 64 << 20 // bytes that no buffer between server and client holds
)

// allPlacesAreFree waits until as many downloads as may run at a time have begun: each
// holds its place until the last of them is there.
func (s *server) allPlacesAreFree(path string) {
	s.t.Helper()
	in, all := make(chan struct{}, places), make(chan struct{})
	hold := func(q backup.ArchiveRead) {
		if q.Length == probe {
			in <- struct{}{}
			<-all
		}
	}
	s.onRead.Store(&hold)
	ended, until := make(chan int, places), time.Now().Add(2*time.Minute)
	for range places {
		go func() {
			status := 503
			for ; (status == 503 || status == 429) && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
				status = s.call("GET", path, "", "Range", fmt.Sprintf("bytes=0-%d", probe-1)).StatusCode
			}
			ended <- status
		}()
	}
	late := time.After(time.Until(until))
	for n := range places {
		select {
		case <-in:
			continue
		case <-late:
			s.t.Errorf("%d of %d places are free", n, places)
		}
		break
	}
	close(all)
	for range places {
		if status := <-ended; status != 206 {
			s.t.Errorf("status %d, want 206", status)
		}
	}
	s.onRead.Store(nil)
}

// TestClientThatLeavesFreesItsDownload opens more downloads than there may be at
// a time, one after another, and reads none to its end.
func TestClientThatLeavesFreesItsDownload(t *testing.T) {
	s := start(t)
	s.archive = make([]byte, largeFile)
	path := "/api/v1/backups/" + s.backup() + "/download"
	for range 40 {
		s.download(path).Close()
	}
	s.allPlacesAreFree(path)
}

// TestClientThatStallsIsCutOff fills all places with clients that take nothing.
func TestClientThatStallsIsCutOff(t *testing.T) {
	s := start(t)
	s.archive = make([]byte, largeFile)
	path := "/api/v1/backups/" + s.backup() + "/download"
	var stalled []net.Conn
	for range places {
		stalled = append(stalled, s.download(path))
	}
	s.allPlacesAreFree(path)
	for _, conn := range stalled {
		if n, err := io.Copy(io.Discard, conn); begun+n >= largeFile {
			t.Errorf("a stalled client got all %d bytes, %v", n, err)
		}
	}
}

// TestSlowArchiveIsNoStall lets the archive take longer for a piece than a client may:
// the client, which takes what comes, gets the whole of it.
func TestSlowArchiveIsNoStall(t *testing.T) {
	s := start(t)
	path := "/api/v1/backups/" + s.backup() + "/download"
	slow := func(q backup.ArchiveRead) {
		if q.Offset > 0 {
			time.Sleep(1200 * time.Millisecond) // the limit for clients is 1 s here
		}
	}
	s.onRead.Store(&slow)
	if a := s.want(s.call("GET", path, ""), 200); len(a.body) != len(s.archive) {
		t.Errorf("%d bytes, want %d", len(a.body), len(s.archive))
	}
}
