package supabase

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNoLandlock says that the kernel cannot confine a thread.
var errNoLandlock = errors.New("the kernel has no Landlock (Linux 5.13), without which files that others include or extend cannot be kept in the folder of the project; name all files in COMPOSE_FILE, or set allowed_paths: [/] if whoever may write to the folder may read every file")

// confined calls f on a thread of its own, which can read files only below some folders.
// compose's library opens the files that others include and extend by itself. f must
// not start goroutines. It is told whether the thread is confined.
func confined(folders []string, f func(confined bool) error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("reading the compose files: %v", r)
			}
		}()
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		err := restrict(folders)
		if err != nil && !errors.Is(err, errNoLandlock) {
			done <- err
			return
		}
		done <- f(err == nil)
	}()
	return <-done
}

// restrict takes from the thread what it does not need.
func restrict(folders []string) error {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr.Handled_access_fs), 0) //nolint:gosec // the only way to call it
	if errno != 0 {
		return errNoLandlock
	}
	rules := os.NewFile(fd, "landlock")
	defer rules.Close() //nolint:errcheck // nothing is pending
	for _, folder := range folders {
		if err := permit(rules, folder); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return errNoLandlock
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules.Fd(), 0, 0); errno != 0 {
		return errNoLandlock
	}
	return nil
}

// permit lets files below a folder be read. One that is not there needs no permission.
func permit(rules *os.File, folder string) error {
	fd, err := unix.Open(folder, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: folder, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // nothing is pending
	rule := unix.LandlockPathBeneathAttr{Allowed_access: unix.LANDLOCK_ACCESS_FS_READ_FILE, Parent_fd: int32(fd)}
	if isDir(folder) {
		rule.Allowed_access |= unix.LANDLOCK_ACCESS_FS_READ_DIR
	}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, rules.Fd(), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 { //nolint:gosec // the only way to call it
		return &os.PathError{Op: "confine", Path: folder, Err: errno}
	}
	return nil
}
