package project

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// Extended attributes in which the storage service keeps what it serves with a
// file.
const (
	typeAttr  = "user.supabase.content-type"
	cacheAttr = "user.supabase.cache-control"
)

// firstNames is how many names a warning about many files carries.
const firstNames = 10

// reconcile compares the files that were built with the rows that will be in the
// database, and makes attributes anew that the files lack.
func (p *StoragePart) reconcile(ctx context.Context, t Target, built *os.File) error {
	conn, err := t.rows(ctx)
	if err != nil || conn == nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only read
	var there bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('storage.objects') IS NOT NULL").Scan(&there); err != nil || !there {
		return wrapSQL(err)
	}
	rows, err := conn.Query(ctx, `SELECT bucket_id, name, coalesce(version, ''), coalesce(metadata ->> 'mimetype', ''), coalesce(metadata ->> 'cacheControl', '')
 FROM storage.objects WHERE bucket_id IS NOT NULL AND name IS NOT NULL ORDER BY 1, 2`)
	if err != nil {
		return wrapSQL(err)
	}
	c := counter{}
	var bucket, name, version, mime, cache string
	if _, err := pgx.ForEachRow(rows, []any{&bucket, &name, &version, &mime, &cache}, func() error {
		return c.row(built, bucket+"/"+name, objectFiles(p.base(), bucket, name, version), map[string]string{typeAttr: mime, cacheAttr: cache})
	}); err != nil {
		return refused(err, "The storage objects could not be read from the database")
	}
	all, err := countFiles(built)
	if err != nil {
		return err
	}
	c.report(t, all-c.files)
	return nil
}

// rows connects to the database that will go with the files; nil if there is none.
func (t Target) rows(ctx context.Context) (*pgx.Conn, error) {
	if t.Server == nil {
		return nil, nil //nolint:nilnil // a project without a database
	}
	raw, err := t.Server.Find(ctx)
	if err != nil {
		return nil, fail(err, "The database of the project cannot be found: %v", err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fail(nil, "database.url is not a URL")
	}
	if t.Both {
		u.Path = "/" + t.fresh(false)
	}
	return connect(ctx, u.String(), canonical)
}

// counter counts rows and files that do not fit.
type counter struct {
	files, dangling, repaired int
	names                     []string // of rows without a file
}

// row looks for the file of a row.
func (c *counter) row(built *os.File, name string, candidates []string, attrs map[string]string) error {
	for _, candidate := range candidates {
		st, err := statBeneath(built, candidate)
		if err != nil || st == nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		c.files++
		file, err := openBeneath(built, candidate, unix.O_RDONLY)
		if err != nil {
			return err
		}
		return errors.Join(c.repair(int(file.Fd()), attrs), file.Close())
	}
	if c.dangling++; len(c.names) < firstNames {
		c.names = append(c.names, name)
	}
	return nil
}

// repair sets attributes that a file lacks.
func (c *counter) repair(file int, attrs map[string]string) error {
	done := false
	for attr, value := range attrs {
		if value == "" {
			continue
		}
		_, err := unix.Fgetxattr(file, attr, nil)
		if err == nil {
			continue
		}
		if !errors.Is(err, unix.ENODATA) {
			return err
		}
		if err := unix.Fsetxattr(file, attr, []byte(value), 0); err != nil {
			return fail(err, "The type of a storage file could not be set.")
		}
		done = true
	}
	if done {
		c.repaired++
	}
	return nil
}

func (c *counter) report(t Target, orphans int) {
	for _, name := range c.names {
		t.warn(Storage, "object_without_file", name, "")
	}
	if c.dangling > 0 {
		t.warn(Storage, "objects_without_files", "", fmt.Sprintf("%d storage objects of the database have no file in the backup; the list of warnings names the first of them.", c.dangling))
	}
	if orphans > 0 {
		t.warn(Storage, "files_without_objects", "", fmt.Sprintf("%d restored storage files belong to no object of the database; they do no harm.", orphans))
	}
	if c.repaired > 0 {
		t.warn(Storage, "attributes_rebuilt", "", fmt.Sprintf("%d storage files had lost their types, which were made anew from the database.", c.repaired))
	}
}
