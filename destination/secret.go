package destination

import (
	"fmt"
	"io"
)

// Secret is a credential that is never printed: every way of formatting or encoding it
// gives three asterisks. Convert it to a string to use it.
type Secret string

const hidden = "***"

// Format implements [fmt.Formatter].
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// String implements [fmt.Stringer].
func (Secret) String() string { return hidden }

// MarshalText implements [encoding.TextMarshaler], for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
