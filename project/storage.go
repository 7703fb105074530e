package project

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/archive"
)

// StoragePart is the files of the storage service.
type StoragePart struct {
	Path   string // of the folder that the service calls its backend path
	Within string // see [Place]
	Tenant string // the folder of the project below Path; default "stub/stub"

	Apart []string // sentences about what the service mounts in there from other places
}

func (p *StoragePart) place() Place { return Place{p.Path, p.Within} }

// Name implements [Part].
func (*StoragePart) Name() string { return Storage }

// Dump implements [Part]. If the snapshot has Supabase's table of objects, it
// decides which files are taken: a version of an object never changes, so those
// files are of the snapshot's instant however long the reading takes. Else every
// file is taken.
func (p *StoragePart) Dump(ctx context.Context, s *Session, w *archive.Writer) ([]Warning, error) {
	t, err := openTree(Storage, p.place(), w)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if thereBeneath(t.root, ".minio.sys") {
		return nil, fail(nil, "The storage folder belongs to a MinIO server; a storage backend on S3 cannot be backed up yet.")
	}
	if err := noteApart(t.t, p.Apart); err != nil {
		return nil, err
	}
	supabase, err := s.has(ctx, "storage.objects")
	if err != nil {
		return nil, wrapSQL(err)
	}
	if supabase {
		if err := s.hold(ctx, "storage.objects", storageLockTimeout); err != nil {
			return nil, err
		}
		err = p.objects(ctx, s, t)
	} else {
		err = t.walk(ctx, func(string, bool) (bool, bool) { return true, true })
	}
	if err != nil {
		return nil, err
	}
	return t.t.warnings(), nil
}

// storageLockTimeout is how long to wait for a session that changes the table of objects.
const storageLockTimeout = time.Minute

const objectCursor = `DECLARE objects NO SCROLL CURSOR FOR
SELECT bucket_id, name, coalesce(version, '') FROM storage.objects WHERE bucket_id IS NOT NULL AND name IS NOT NULL ORDER BY bucket_id COLLATE "C", name COLLATE "C"`

// objects writes the files of the snapshot's objects.
func (p *StoragePart) objects(ctx context.Context, s *Session, t *tree) error {
	if _, err := s.tx.Exec(ctx, objectCursor); err != nil {
		return wrapSQL(err)
	}
	o := objectWriter{t: t, base: p.base()}
	for {
		n, err := o.fetch(ctx, s)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	if _, err := s.tx.Exec(ctx, "CLOSE objects"); err != nil {
		return wrapSQL(err)
	}
	if err := t.flush(ctx); err != nil {
		return err
	}
	if o.rows > 0 && o.files == 0 && !s.Wrecked { // each of them is a warning by now
		return fail(nil, "The database lists %d storage objects, but not one of them has a file; check storage.path and the tenant folder %s, or whether the storage service keeps its files on S3.", o.rows, o.base)
	}
	return nil
}

type objectWriter struct {
	t           *tree
	base        string
	dirs        []string // the folders that the last file lay in, outermost first
	rows, files int
}

// fetch writes the next objects of the cursor and returns how many there were.
func (o *objectWriter) fetch(ctx context.Context, s *Session) (int, error) {
	rows, err := s.tx.Query(ctx, "FETCH 1000 FROM objects")
	if err != nil {
		return 0, wrapSQL(err)
	}
	type object struct{ Bucket, Name, Version string }
	objects, err := pgx.CollectRows(rows, pgx.RowToStructByPos[object])
	if err != nil {
		return 0, wrapSQL(err)
	}
	for _, x := range objects {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := o.add(x.Bucket, x.Name, x.Version); err != nil {
			return 0, err
		}
	}
	return len(objects), nil
}

// objectFiles returns where the file of a version of an object may lie: its name
// depends on the settings that the storage service had when it was uploaded. An
// object whose name leads out of the folder has none.
func objectFiles(base, bucket, name, version string) []string {
	whole := path.Join(base, bucket, name)
	candidates := []string{whole}
	if version != "" {
		candidates = []string{path.Join(whole, version), whole + "-$v-" + version}
	}
	return slices.DeleteFunc(candidates, func(c string) bool { return !strings.HasPrefix(c, base+"/") })
}

// add writes the file of a version of an object.
func (o *objectWriter) add(bucket, name, version string) error {
	o.rows++
	return o.t.submit(thing{
		names: objectFiles(o.base, bucket, name, version), objects: true,
		found: func(file string) error {
			o.files++
			return o.enter(path.Dir(file))
		},
		missing: func() error {
			return o.t.t.note(fileVanished, path.Join(bucket, name), "The object %s/%s has no file; it was deleted or overwritten while the backup ran, or is dangling.", bucket, name)
		},
	})
}

// enter writes the folders that lead to the next file and are new.
func (o *objectWriter) enter(dir string) error {
	parts := strings.Split(dir, "/")
	same := 0
	for same < len(parts) && same < len(o.dirs) && parts[same] == o.dirs[same] {
		same++
	}
	for i := same; i < len(parts); i++ {
		if err := o.t.writeDir(strings.Join(parts[:i+1], "/")); err != nil {
			return err
		}
	}
	o.dirs = parts
	return nil
}
