package project

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fileID tells files apart, by whichever name and from whichever container they are
// opened.
type fileID struct{ dev, ino uint64 }

// fileSet is a set of files.
type fileSet map[fileID]struct{}

// has reports whether the file that lies at a name below a folder belongs to the set. A
// link does not: nobody opens it.
func (s fileSet) has(root *os.File, name string) bool {
	if len(s) == 0 {
		return false
	}
	st, err := statBeneath(root, name)
	if err != nil || st == nil {
		return false
	}
	_, ok := s[fileID{st.Dev, st.Ino}]
	return ok
}

// Bounds of what is looked at.
const (
	openTimeout = 3 * time.Second
	maxOpen     = 1 << 20 // descriptors
)

// openFiles returns the files that processes of this machine have open for writing, or
// have mapped so: what is read of them may be half of a change. It knows only what this
// user may see, and gives up after a while with what it has found.
func openFiles(ctx context.Context) fileSet {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	found := make(chan fileID, 64)
	go func() { // may hang in a file system; nobody waits for it then
		defer close(found)
		listOpen(ctx, func(id fileID) bool {
			select {
			case found <- id:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	set := fileSet{}
	for {
		select {
		case id, ok := <-found:
			if !ok {
				return set
			}
			set[id] = struct{}{}
		case <-ctx.Done():
			return set
		}
	}
}

// listOpen calls yield for each file that is open for writing, until that returns false.
func listOpen(ctx context.Context, yield func(fileID) bool) {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	left := maxOpen
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil || !p.IsDir() {
			continue
		}
		if ctx.Err() != nil || left <= 0 {
			return
		}
		dir := filepath.Join("/proc", p.Name())
		fds, _ := os.ReadDir(filepath.Join(dir, "fd")) // of another user, or gone
		left -= len(fds)
		for _, fd := range fds {
			if id, ok := writable(filepath.Join(dir, "fd", fd.Name())); ok && !yield(id) {
				return
			}
		}
		if !listMapped(filepath.Join(dir, "maps"), yield) {
			return
		}
	}
}

// writable returns which file a descriptor is of, if that is open for writing.
func writable(fd string) (id fileID, ok bool) {
	fi, err := os.Lstat(fd) // its mode says how the file was opened
	if err != nil || fi.Mode().Perm()&0o200 == 0 {
		return id, false
	}
	target, err := os.Readlink(fd)
	if err != nil || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "/dev/") || strings.HasPrefix(target, "/proc/") {
		return id, false
	}
	var st unix.Stat_t
	if unix.Stat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return id, false
	}
	return fileID{st.Dev, st.Ino}, true
}

// listMapped calls yield for each file of which a process shares a mapping that it may
// write to. It returns false if yield did.
func listMapped(maps string, yield func(fileID) bool) bool {
	f, err := os.Open(maps)
	if err != nil {
		return true
	}
	defer f.Close() //nolint:errcheck // opened for reading
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text()) // addresses, permissions, offset, device, inode
		if len(fields) < 5 || len(fields[1]) < 4 || fields[1][1] != 'w' || fields[1][3] != 's' {
			continue
		}
		major, minor, _ := strings.Cut(fields[3], ":")
		a, aerr := strconv.ParseUint(major, 16, 32)
		b, berr := strconv.ParseUint(minor, 16, 32)
		inode, ierr := strconv.ParseUint(fields[4], 10, 64)
		if aerr == nil && berr == nil && ierr == nil && inode != 0 && !yield(fileID{unix.Mkdev(uint32(a), uint32(b)), inode}) {
			return false
		}
	}
	return true
}
