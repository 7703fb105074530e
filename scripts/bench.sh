#!/bin/sh
# Measures holdfastd against its rivals, all in one run: the ratios count, not the
# seconds. SCALE=1 is a database of about 1 GB and 100,000 files; TABLE=database,
# TABLE=files, TABLE=restore, TABLE=stores or TABLE=partial measures one of them.
set -eu
cd "$(dirname "$0")/.."
./scripts/deps.sh 17
./scripts/deps.sh stores
for p in restic pigz; do command -v "$p" >/dev/null || apt-get install -y -qq "$p" >/dev/null; done
stores() {
	rivals=$PWD/.tools/rivals
	[ -x "$rivals/mc" ] || GOBIN=$rivals GOWORK=off go install github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9
	[ -x /usr/bin/aws ] || apt-get install -y -qq --no-install-recommends awscli >/dev/null
	PATH=$rivals:$PATH go test ./e2e -run '^$' -bench Stores -benchtime 1x -timeout 20m
}
partial() { go test ./e2e -run '^$' -bench Partial -benchtime 1x -timeout 20m; }
case "${TABLE:-}" in stores | partial) "$TABLE"; exit ;; esac
go build -o bin/ ./cmd/holdfastd
go run ./testenv/bench "$PWD/bin/holdfastd" "${SCALE:-1}" ${TABLE:+"$TABLE"}
[ -n "${TABLE:-}" ] || { stores && partial; }
