#!/bin/sh
# Measures a database dump against its rivals, all in one run: the ratio counts,
# not the seconds. GB=1 is the size of the database, more or less.
set -eu
cd "$(dirname "$0")/.."
./scripts/deps.sh 17
for p in restic pigz; do command -v "$p" >/dev/null || apt-get install -y -qq "$p" >/dev/null; done
go build -o bin/ ./cmd/holdfastd
exec go run ./testenv/bench "$PWD/bin/holdfastd"
