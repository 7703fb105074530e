package config

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as 512MiB, 1GiB, 10GB or a plain number.
type Size int64

var units = map[string]float64{"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	n := strings.TrimRight(string(text), "KMGTiB")
	unit, ok := units[string(text[len(n):])]
	f, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
	if err != nil || !ok || !(f >= 0 && f*unit <= 1<<62) { // not a number is neither
		return errors.New("must be a size such as 512MiB or 1GiB")
	}
	*s = Size(f * unit)
	return nil
}

// Secret is a value that is never printed: every way of formatting or encoding it
// gives three asterisks. Convert it to a string to use it.
type Secret string

const hidden = "***"

// Format implements fmt.Formatter.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// String implements fmt.Stringer.
func (Secret) String() string { return hidden }

// MarshalText implements encoding.TextMarshaler, for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
