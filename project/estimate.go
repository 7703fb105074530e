package project

import (
	"context"

	"golang.org/x/sys/unix"
)

// Estimate returns about how many bytes an archive of some parts may have at most:
// the size of the databases and of the files. What cannot be asked for counts as
// nothing; the dump says why.
func Estimate(ctx context.Context, s *Session, parts []Part) int64 {
	var total int64
	disks := map[uint64]bool{}
	for _, part := range parts {
		switch p := part.(type) {
		case *DatabasePart:
			total += s.size(ctx)
		case *StoragePart:
			total += bytesBelow(ctx, Storage, p.place(), p.base(), disks)
		case *FunctionsPart:
			total += bytesBelow(ctx, Functions, p.place(), ".", disks)
		case *ConfigPart:
			total += bytesBelow(ctx, Config, p.place(), ".", disks)
		}
	}
	return total
}

// size returns the size of the databases, and a quarter more: values that are
// compressed in the tables, or binary, are larger in a dump.
func (s *Session) size(ctx context.Context) (n int64) {
	if s.tx == nil {
		return 0
	}
	err := s.tentatively(ctx, func() error { // not every role may ask
		return s.tx.QueryRow(ctx, "SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database WHERE datname IN (current_database(), '_supabase')").Scan(&n)
	})
	if err != nil {
		return 0
	}
	return n + n/4
}

// smallDisk is how much may be stored on a file system for it to be counted whole,
// which is faster than to look at every file.
const smallDisk = 64 << 30

// bytesBelow returns an upper bound of the bytes in the files of a folder. disks
// are the file systems that were counted whole.
func bytesBelow(ctx context.Context, part string, at Place, below string, disks map[uint64]bool) (n int64) {
	root, err := at.openDir()
	if err != nil {
		return 0
	}
	defer root.Close() //nolint:errcheck // opened for reading
	var st unix.Statfs_t
	var fi unix.Stat_t
	if unix.Fstatfs(int(root.Fd()), &st) != nil || unix.Fstat(int(root.Fd()), &fi) != nil {
		return 0
	}
	if used := int64(st.Blocks-st.Bfree) * st.Bsize; used <= smallDisk {
		if disks[fi.Dev] {
			return 0
		}
		disks[fi.Dev] = true
		return used
	}
	m, _ := measureBelow(ctx, part, root, below, everything) // what can be seen; the dump says the rest
	return m.Bytes
}
