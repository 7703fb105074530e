package local

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/destination"
)

// present returns an error when the folder is gone, or another one is in its place: what
// would be stored could not be found again.
func (s *Store) present() error {
	there, err := os.Stat(s.path)
	if err == nil {
		var opened os.FileInfo
		if opened, err = s.root.Stat("."); err == nil && os.SameFile(there, opened) {
			return nil
		}
	}
	return &destination.Error{
		Kind: destination.ErrUnreachable, Err: err,
		Advice: fmt.Sprintf("the folder %s is gone, or another one than when holdfastd began; bring it back, or restart holdfastd to use the one that is there", s.path),
	}
}

// room returns ErrNoSpace when less than minFree is free.
func (s *Store) room() error {
	free, err := Free(s.path)
	if err != nil {
		return err
	}
	if free < s.minFree {
		return fmt.Errorf("%w: %d MiB free on the file system of %s, %d MiB must stay free", destination.ErrNoSpace, free>>20, s.path, s.minFree>>20)
	}
	return nil
}

// Free returns how many bytes the file system of path has left for this user.
func Free(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", path, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}
