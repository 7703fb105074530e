package testenv

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// A Go program asks the time of the function clock_gettime in its vDSO, which the kernel
// maps into every process. A process that [Machine.Start] has started has a copy of its
// own of that function, which adds an offset to the time of day and leaves the monotonic
// clock as it is: that is what a step of the system's clock does. The program is the one
// that ships; no other process sees another time.

// errClock says why clocks cannot be set here, if they cannot.
var errClock = func() error {
	if runtime.GOARCH != "amd64" {
		return errors.New("the clock of a process can be set on amd64 only")
	}
	return nil
}()

// clockCode is the function clock_gettime(clock, time), behind which stands the offset in
// seconds.
var clockCode = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, //       mov  eax, 228 (clock_gettime)
	0x0f, 0x05, //                         syscall
	0x85, 0xff, //                         test edi, edi
	0x75, 0x0a, //                         jnz  end      (not CLOCK_REALTIME)
	0x48, 0x8b, 0x0d, 0x04, 0, 0, 0, //    mov  rcx, [offset]
	0x48, 0x01, 0x0e, //                   add  [rsi], rcx
	0xc3, //                       end: ret
}

// replaceClock writes clockCode into the vDSO of a process that does not run yet.
func replaceClock(pid int) error {
	at, err := clockAddress(pid)
	if err != nil {
		return err
	}
	return poke(pid, at, append(bytes.Clone(clockCode), make([]byte, 8)...))
}

// SetClock sets the clock of a process, that a [Machine] has started, to an offset
// from the time, in whole seconds. The error says why that is not possible here.
func SetClock(pid int, offset time.Duration) error {
	if errClock != nil {
		return errClock
	}
	at, err := clockAddress(pid)
	if err != nil {
		return err
	}
	found := make([]byte, len(clockCode))
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return err
	}
	defer mem.Close()
	if _, err := mem.ReadAt(found, at); err != nil || !bytes.Equal(found, clockCode) {
		return fmt.Errorf("the clock of the process %d cannot be set: %w", pid, err)
	}
	seconds := make([]byte, 8)
	binary.LittleEndian.PutUint64(seconds, uint64(offset/time.Second))
	return poke(pid, at+int64(len(clockCode)), seconds)
}

func poke(pid int, at int64, data []byte) error {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = mem.WriteAt(data, at)
	return errors.Join(err, mem.Close())
}

// clockAddress returns where clock_gettime is in a process.
func clockAddress(pid int) (int64, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	var first, last int64
	for line := range strings.SplitSeq(string(maps), "\n") {
		if strings.HasSuffix(line, "[vdso]") {
			if _, err := fmt.Sscanf(line, "%x-%x", &first, &last); err != nil {
				return 0, err
			}
		}
	}
	if first == 0 {
		return 0, fmt.Errorf("the process %d has no vDSO", pid)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	image := make([]byte, last-first)
	if _, err := mem.ReadAt(image, first); err != nil {
		return 0, err
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return first + int64(s.Value), nil
		}
	}
	return 0, errors.New("the vDSO has no clock_gettime")
}
