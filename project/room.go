package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/archive"
)

// room returns about how many bytes the files of a part take on a disk: blocks of
// zeros take none, and a file fills its last block half.
func room(p archive.Part) int64 { return p.Bytes - p.Zeros + p.Entries*(2<<10) }

// Need is the room that a part takes on the file system of a path while it is restored.
// A path that is not there stands for the folder that will hold it.
type Need struct {
	Part    string
	At      string
	Bytes   int64
	MinFree int64 // stays free there

	disk *disk // of At; nil if nobody has opened it
}

// disk is a file system.
type disk struct {
	dev  uint64
	free int64
}

// diskOf returns the file system of an open folder, or nil.
func diskOf(dir *os.File) *disk {
	var st unix.Stat_t
	free, err := freeBytes(dir)
	if err != nil || unix.Fstat(int(dir.Fd()), &st) != nil {
		return nil // the first write says so
	}
	return &disk{dev: st.Dev, free: free}
}

// find fills in the disk.
func (n *Need) find() {
	if n.disk != nil {
		return
	}
	at, err := os.OpenFile(n.At, unix.O_PATH, 0) // needs no permission to read it
	for ; errors.Is(err, fs.ErrNotExist) && n.At != filepath.Dir(n.At); at, err = os.OpenFile(n.At, unix.O_PATH, 0) {
		n.At = filepath.Dir(n.At)
	}
	if err != nil {
		return // other checks say so
	}
	defer at.Close() //nolint:errcheck // nothing is pending
	n.disk = diskOf(at)
}

// CheckRoom returns a check for each disk that has too little room for all that a
// restore writes to it, or one without a problem.
func CheckRoom(needs []Need) []Check {
	disks, order := map[uint64][]Need{}, []uint64{}
	for _, n := range needs {
		if n.find(); n.disk == nil {
			continue
		}
		if disks[n.disk.dev] == nil {
			order = append(order, n.disk.dev)
		}
		disks[n.disk.dev] = append(disks[n.disk.dev], n)
	}
	var out []Check
	for _, d := range order {
		if problem := shortOf(disks[d]); problem != "" {
			out = append(out, Check{Name: "space", Problem: problem})
		}
	}
	if out == nil {
		out = []Check{{Name: "space"}}
	}
	return out
}

// shortOf says that a disk has too little room for what is needed there, if it has.
func shortOf(needs []Need) string {
	free := needs[0].disk.free
	var parts []string
	sum, minFree, each := int64(0), int64(0), map[string]int64{}
	for _, n := range needs {
		if _, known := each[n.Part]; !known {
			parts = append(parts, n.Part)
		}
		each[n.Part] += n.Bytes
		sum, minFree = sum+n.Bytes, max(minFree, n.MinFree)
	}
	if free-minFree >= sum {
		return ""
	}
	who := fmt.Sprintf("The part %s needs %d MiB", parts[0], up(sum))
	if len(parts) > 1 {
		for i, p := range parts {
			parts[i] = fmt.Sprintf("%s (%d MiB)", p, up(each[p]))
		}
		last := len(parts) - 1
		who = fmt.Sprintf("The parts %s and %s together need %d MiB", strings.Join(parts[:last], ", "), parts[last], up(sum))
	}
	return fmt.Sprintf("%s on the disk of %s, which has %d MiB free, %d MiB of which must stay free (min_free). Make room there and try again.", who, needs[0].At, free>>20, up(minFree))
}

// up returns bytes in MiB, rounded up.
func up(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }

func freeBytes(dir *os.File) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir.Name(), Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// errMinFree is an error of a full disk: what others need is all that is left.
var errMinFree = fmt.Errorf("min_free is reached: %w", unix.ENOSPC)

// roomGuard keeps some of a disk free while it is written to.
type roomGuard struct {
	dir     *os.File
	minFree int64
	left    int64 // may be written before the disk is asked again
}

// askEvery is how much is written at most between two looks at the disk.
const askEvery = 16 << 20

// take is called before n bytes are written.
func (g *roomGuard) take(n int64) error {
	if g.left -= n; g.left >= 0 {
		return nil
	}
	free, err := freeBytes(g.dir)
	if err != nil {
		return err
	}
	if free-n < g.minFree {
		return errMinFree
	}
	g.left = min(askEvery, (free-n-g.minFree)/2)
	return nil
}

// fullDisk names the file that has no room. Names of storage objects are nobody's
// business.
func (f *folder) fullDisk(e *archive.EntryError, err error) error {
	file := "A file"
	if e != nil && f.part != Storage {
		file = "The file " + archive.Printable(strings.TrimPrefix(e.Name, f.part+"/"))
	}
	if e != nil {
		file += fmt.Sprintf(" (%d MiB)", up(e.Size))
	}
	return fail(err, "%s of the part %s has no room on the disk of %s, where %d MiB must stay free (min_free). Nothing was changed; make room there and try again.", file, f.part, f.at.Path, up(f.t.MinFree))
}
