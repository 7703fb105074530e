package project

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// livePatterns are files by which a folder is known to hold the data of a service:
// all names of a row must be there.
var livePatterns = [][]string{
	{"PG_VERSION", "global/pg_control"}, // PostgreSQL
	{".minio.sys"},                      // MinIO
	{".rustfs.sys"},                     // RustFS
	{"appendonlydir"},                   // Redis and Valkey
	{"appendonly.aof"},
	{"dump.rdb"},
	{"ibdata1"},            // MySQL and MariaDB
	{"WiredTiger.wt"},      // MongoDB
	{"chunks_head", "wal"}, // Prometheus
	{"CURRENT", "LOCK"},    // LevelDB and RocksDB
	{"data.mdb", "lock.mdb"},
	{"member/wal"},  // etcd
	{"KEYREGISTRY"}, // Badger
}

// isLiveData reports whether a folder below root holds the data of a running service.
func isLiveData(root *os.File, dir string) bool {
	for _, names := range livePatterns {
		found := 0
		for _, n := range names {
			if thereBeneath(root, path.Join(dir, n)) {
				found++
			}
		}
		if found == len(names) {
			return true
		}
	}
	return false
}

// sqliteSuffixes end the names of files that SQLite keeps beside a database which is
// in use.
var sqliteSuffixes = []string{"-wal", "-shm", "-journal"}

// isLiveFile reports whether a file is a SQLite database in use, or belongs to one.
func isLiveFile(root *os.File, name string) bool {
	for _, suffix := range sqliteSuffixes {
		if thereBeneath(root, name+suffix) {
			return true
		}
		if main, ok := strings.CutSuffix(name, suffix); ok && thereBeneath(root, main) {
			return true
		}
	}
	return false
}

// isLarge reports whether a file is larger than limit allows; 0 is no limit.
func isLarge(root *os.File, name string, limit int64) bool {
	if limit == 0 {
		return false
	}
	st, err := statBeneath(root, name)
	return err == nil && st != nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size > limit
}
