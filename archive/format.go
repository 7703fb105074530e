package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
	"unicode/utf8"
)

var (
	// ErrCorrupt is returned for an archive that is damaged or does not follow
	// the format.
	ErrCorrupt = errors.New("archive: corrupt")
	// ErrUnsafe is returned for an entry that could harm who extracts it: an
	// absolute name, "..", a link out of its part, a hard link, a device, a
	// sparse file. The writer refuses such entries with it, too.
	ErrUnsafe = errors.New("archive: unsafe entry")
	// ErrTwice is returned by [Writer.Add] for an entry whose name is taken. Nothing is
	// written, so the caller may go on without it.
	ErrTwice = errors.New("archive: the same name twice")
	// ErrVersion is returned for an archive of a later format.
	ErrVersion = errors.New("archive: made by a later version of Holdfast")
	// ErrShort is returned by [Writer.Add] when the content was shorter than the
	// entry's size. The entry is in the archive, filled up with zeros.
	ErrShort = errors.New("archive: content shorter than announced")
	// ErrLimit is returned by [Extract] when an archive holds more than allowed.
	ErrLimit = errors.New("archive: more than the limit")
)

// Format is the version of the format that this package writes.
const Format = 1

// Names of the files that are about the archive itself.
const (
	headerName   = "holdfast.json"
	indexDir     = "manifest"
	warningsName = "warnings.jsonl"
	manifestName = "manifest.json"
)

// Sizes of the format, in bytes.
const (
	memberSize   = 1 << 20 // input of a gzip member
	maxPiece     = 8 << 20 // of a streamed file
	maxIndex     = 1 << 20 // of one index file
	maxHeader    = 64 << 10
	maxManifest  = 1 << 20
	maxName      = 4096
	maxComponent = 255       // of a name
	maxXattrs    = 512 << 10 // names and values of an entry
	maxWarnings  = 8 << 20   // of warnings.jsonl
	trailerBytes = 34
	maxBytes     = 1 << 50 // of a part's content: sums of parts do not overflow
	maxEntries   = 1 << 40 // of a part
)

// Header is the first file of an archive. It says what the archive is.
type Header struct {
	Format    int       `json:"format"`     // set by the Writer
	ID        string    `json:"id"`         // of the backup
	Project   string    `json:"project"`    // project ID
	Name      string    `json:"name"`       // project name, for people
	Type      string    `json:"type"`       // full, database, storage, functions or config
	CreatedAt time.Time `json:"created_at"` // when the backup was asked for, UTC
	Attempt   int       `json:"attempt"`    // 1 for the first
}

// Manifest is the last file of an archive.
type Manifest struct {
	Header
	HeaderSHA256   string `json:"header_sha256"` // of holdfast.json
	Parts          []Part `json:"parts"`         // in the order of the archive
	Entries        int64  `json:"entries"`       // of all parts
	Bytes          int64  `json:"bytes"`         // content of all entries
	Warnings       int64  `json:"warnings"`      // lines of warnings.jsonl
	WarningsSHA256 string `json:"warnings_sha256"`

	// SHA256 is the lower-case hex SHA-256 of manifest.json itself. The Writer and the
	// readers set it. Whoever keeps it elsewhere can prove with it a part that is read
	// alone: the manifest vouches for the bytes of each part.
	SHA256 string `json:"-"`
}

// Part says where a part lies and what it holds.
type Part struct {
	Name        string `json:"name"`
	Offset      int64  `json:"offset"` // of its first gzip member, before encryption
	Length      int64  `json:"length"` // of all its members, its index included
	Entries     int64  `json:"entries"`
	Bytes       int64  `json:"bytes"`        // content of its entries
	IndexSHA256 string `json:"index_sha256"` // of the lines of its index

	// SHA256 is the lower-case hex SHA-256 of the range of Offset and Length. Archives of
	// earlier versions have none. Only a reader of the part alone compares it: who reads
	// the whole archive compares the sum of the whole.
	SHA256 string `json:"sha256,omitempty"`

	// Zeros is how many of the bytes lie in blocks of 4 KiB that hold nothing but zeros,
	// counted from the start of each file: a restore leaves them out, as a sparse file
	// does. It is an estimate of the room that is needed; no reader compares it.
	Zeros int64 `json:"zeros,omitempty"`
}

// Kind tells files, folders and links apart.
type Kind string

// Kinds of entries.
const (
	File Kind = "file"
	Dir  Kind = "dir"
	Link Kind = "link" // symbolic
)

// Entry is one file, folder or symbolic link.
type Entry struct {
	Name    string // slash-separated; begins with the name of its part
	Kind    Kind
	Size    int64             // of a file, in bytes
	Mode    fs.FileMode       // permission bits, setuid, setgid and sticky
	ModTime time.Time         // whole seconds
	UID     int               // numeric owner
	GID     int               // numeric group
	Target  string            // of a link
	Xattrs  map[string]string // extended attributes by full name, such as user.mime
}

// sum is a line of the index.
type sum struct {
	Name     string `json:"name,omitempty"`
	Name64   []byte `json:"name64,omitempty"` // instead of Name when that is not UTF-8
	Kind     Kind   `json:"type"`
	Size     int64  `json:"size,omitempty"`
	SHA256   string `json:"sha256,omitempty"`
	Target   string `json:"target,omitempty"`
	Target64 []byte `json:"target64,omitempty"`
}

func (s sum) marshal() ([]byte, error) {
	if !utf8.ValidString(s.Name) {
		s.Name, s.Name64 = "", []byte(s.Name)
	}
	if !utf8.ValidString(s.Target) {
		s.Target, s.Target64 = "", []byte(s.Target)
	}
	b, err := json.Marshal(s)
	return append(b, '\n'), err
}

func unmarshalSum(line []byte) (sum, error) {
	var s sum
	if err := json.Unmarshal(line, &s); err != nil {
		return s, fmt.Errorf("%w: index line: %w", ErrCorrupt, err)
	}
	if s.Name64 != nil {
		s.Name, s.Name64 = string(s.Name64), nil
	}
	if s.Target64 != nil {
		s.Target, s.Target64 = string(s.Target64), nil
	}
	return s, nil
}
