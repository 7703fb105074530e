#!/bin/sh
# Measures holdfastd against its rivals, all in one run: the ratios count, not the
# seconds. SCALE=1 is a database of about 1 GB and 100,000 files; TABLE=database,
# TABLE=files or TABLE=restore measures one of them.
set -eu
cd "$(dirname "$0")/.."
./scripts/deps.sh 17
for p in restic pigz; do command -v "$p" >/dev/null || apt-get install -y -qq "$p" >/dev/null; done
go build -o bin/ ./cmd/holdfastd
exec go run ./testenv/bench "$PWD/bin/holdfastd" "${SCALE:-1}" ${TABLE:+"$TABLE"}
