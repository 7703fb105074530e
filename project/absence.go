package project

import (
	"context"
	"fmt"
	"slices"

	"github.com/holdfast-dev/holdfast/archive"
)

// Absence says that a project has no such part.
type Absence struct {
	Part     string
	Chosen   bool   // the operator does not want it
	Sentence string // why it was not found; "" if nobody looked for it
}

const storageMissing = "storage_missing"

// CheckAbsent counts the storage objects that the database lists when the files are
// in no part. It fails if they were looked for and not found, and all parts were
// asked for; it warns if they were left out on purpose. w, unless nil, takes the
// warning as well.
func (p Project) CheckAbsent(ctx context.Context, s *Session, w *archive.Writer, all bool) ([]Warning, error) {
	for _, a := range p.Absent {
		if a.Part != Storage {
			continue
		}
		n, err := s.objects(ctx)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, nil
		}
		if all && !s.Wrecked && !a.Chosen && a.Sentence != "" {
			return nil, fail(nil, "The database lists %d storage objects, but their files cannot be found: %s", n, a.Sentence)
		}
		why := "the project has no storage part; set storage.path, or storage: none"
		if a.Chosen {
			why = "the configuration says storage: none"
		}
		sentence := fmt.Sprintf("storage: the files of %d storage objects are not in this backup, because %s.", n, why)
		if w != nil {
			err = w.Warn(archive.Warning{Part: Storage, Code: storageMissing, Sentence: sentence})
		}
		return []Warning{{Code: storageMissing, Count: 1, Sentence: sentence}}, err
	}
	return nil, nil
}

// objects counts the storage objects of the snapshot.
func (s *Session) objects(ctx context.Context) (n int64, err error) {
	there, err := s.has(ctx, "storage.objects")
	if err != nil || !there {
		return 0, wrapSQL(err)
	}
	return n, wrapSQL(s.tx.QueryRow(ctx, "SELECT count(*) FROM storage.objects").Scan(&n))
}

// Problems returns what keeps parts from being backed up.
func (p Project) Problems() []string {
	out := slices.Clone(p.Faults)
	for _, part := range p.Parts {
		if u, ok := part.(*UnavailablePart); ok && !slices.Contains(out, u.Sentence) {
			out = append(out, u.Sentence)
		}
	}
	return out
}
