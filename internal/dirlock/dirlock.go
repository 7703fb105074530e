// Package dirlock keeps a second process out of a folder that only one may use.
package dirlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// fileName is the file in the folder that carries the lock, and the process id of its
// holder.
const fileName = "holdfastd.lock"

// HeldError is returned by [Acquire] when another process holds the lock.
type HeldError struct {
	Dir string
	PID int // of the holder; 0 if it has not been written yet
}

// Error implements error.
func (e *HeldError) Error() string {
	holder := "another process"
	if e.PID != 0 {
		holder = "the process " + strconv.Itoa(e.PID)
	}
	return fmt.Sprintf("%s is in use by %s", e.Dir, holder)
}

// Lock is a lock that this process holds. The system releases it when the process
// ends, however it ends.
type Lock struct{ f *os.File }

// Acquire makes the folder with mode 0700 if it is missing and locks it. It does not
// wait: when another process holds the lock it returns a [*HeldError]. The caller must
// call [Lock.Release].
func Acquire(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = &HeldError{Dir: dir, PID: readPID(f)}
		}
		return nil, errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{f}, nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func readPID(f *os.File) int {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0) // it ends early
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}

// Release lets another process use the folder. The file stays: who removed it could
// remove one that another process has just locked.
func (l *Lock) Release() error { return l.f.Close() }
