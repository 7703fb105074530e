package project

import (
	"io/fs"
	"os"
	"syscall"
)

// sameOwner gives a file the owner and mode of another.
func sameOwner(name string, of fs.FileInfo) error {
	if st, ok := of.Sys().(*syscall.Stat_t); ok && os.Getuid() == 0 {
		if err := os.Chown(name, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(name, of.Mode().Perm())
}
