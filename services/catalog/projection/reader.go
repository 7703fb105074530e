package projection

import (
	"context"

	"github.com/holdfast-dev/holdfast/events"
)

// reader reads one snapshot of a file.
type reader struct{ *session }

// maxReaders is how many questions a file answers at a time; others wait.
const maxReaders = 4

// read calls f with a snapshot that knows revision minimum.
func (p *Projection) read(ctx context.Context, minimum events.Revision, f func(reader) error) error {
	file, release, err := p.at(ctx, minimum)
	if err != nil {
		return err
	}
	defer release()
	s, err := file.take(ctx)
	if err != nil {
		return err
	}
	defer func() { file.readers <- s }()
	if err := s.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	defer s.exec(context.WithoutCancel(ctx), "ROLLBACK") //nolint:errcheck // read only
	return f(reader{s})
}

// take returns a session that nobody reads with. The caller gives it back.
func (f *file) take(ctx context.Context) (*session, error) {
	select {
	case s := <-f.readers:
		if s != nil {
			return s, nil
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s, err := newSession(ctx, f.db)
	if err != nil {
		f.readers <- nil
		return nil, err
	}
	return s, nil
}
