package testenv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// StorageRoot returns the folder of the storage service.
func (s *Supabase) StorageRoot() string { return filepath.Join(s.Dir, "volumes/storage") }

// AddObjects uploads storage objects with the numbers from up to, not including,
// to: files with xattrs, and their rows. Two thirds do not compress.
func (s *Supabase) AddObjects(ctx context.Context, from, to int) error {
	rnd := rand.New(rand.NewPCG(uint64(from), uint64(to)))
	var rows [][]any
	for i := from; i < to; i++ {
		o := object(i)
		data := content(rnd, i)
		if err := s.writeObject(o, data); err != nil {
			return err
		}
		rows = append(rows, []any{o.bucket, o.name, o.version, map[string]any{"mimetype": o.mime, "cacheControl": "max-age=3600", "size": len(data)}})
	}
	conn, err := pgx.Connect(ctx, s.DB.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"storage", "objects"}, []string{"bucket_id", "name", "version", "metadata"}, pgx.CopyFromRows(rows))
	return err
}

type storageObject struct{ bucket, name, version, mime string }

func object(i int) storageObject {
	o := storageObject{"avatars", fmt.Sprintf("users/%03d/Bild %d ü.png", i%997, i), fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i), "image/png"}
	if i%3 == 0 {
		o.bucket, o.name, o.mime = "documents", fmt.Sprintf("%d/report-%d.txt", i%31, i), "text/plain; charset=utf-8"
	}
	return o
}

// content returns what the nth object holds: a few kilobytes, some tens now and
// then.
func content(rnd *rand.Rand, i int) []byte {
	n := 500 + rnd.IntN(6000)
	if i%50 == 0 {
		n *= 20
	}
	b := make([]byte, n)
	for k := range b {
		if i%3 == 0 {
			b[k] = "the quick brown fox "[k%20]
		} else {
			b[k] = byte(rnd.Uint32())
		}
	}
	return b
}

func (s *Supabase) writeObject(o storageObject, data []byte) error {
	dir := filepath.Join(s.StorageRoot(), "stub/stub", o.bucket, o.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(dir, o.version)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return err
	}
	for k, v := range map[string]string{"user.supabase.content-type": o.mime, "user.supabase.cache-control": "max-age=3600"} {
		if err := unix.Setxattr(file, k, []byte(v), 0); err != nil {
			return fmt.Errorf("xattr of %s: %w", file, err)
		}
	}
	return nil
}
