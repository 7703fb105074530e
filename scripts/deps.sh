#!/bin/sh
# Installs what the tests and the sample project need and is not here yet: a few
# Debian packages; PostgreSQL 15 and 17 as trees of their own, so that the host's
# PostgreSQL, if any, stays as it is; and the servers that stand for the
# destinations. Arguments say what: PostgreSQL majors, or "stores"; default: all.
set -eu
tools=${HOLDFAST_TOOLS:-/var/cache/holdfast-tools}
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo

packages() { # packages NAME…: installs those of which the command is missing, as command:package
	missing=
	for p in "$@"; do
		command -v "${p%%:*}" >/dev/null 2>&1 || missing="$missing ${p##*:}"
	done
	[ -z "$missing" ] && return
	echo "installing$missing"
	$sudo apt-get update -qq
	# shellcheck disable=SC2086
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# postgres MAJOR SUITE PACKAGE…: a tree in $tools/pgMAJOR with the server and the
# extensions of Debian that the tests use. It stands apart from the host's own
# PostgreSQL, whose extensions the tests must not meet.
postgres() {
	major=$1 suite=$2
	shift 2
	want="postgresql-$major"
	for p in "$@"; do want="$want,postgresql-$major-$p"; done
	tree=$tools/pg$major
	[ "$(cat "$tree/.packages" 2>/dev/null)" = "$want" ] && return
	packages mmdebstrap:mmdebstrap patchelf:patchelf file:file
	echo "installing PostgreSQL $major into $tree"
	$sudo mkdir -p "$tools"
	$sudo rm -rf "$tree"
	# shellcheck disable=SC2024
	$sudo mmdebstrap --quiet --variant=extract --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --include="$want" "$suite" "$tree" 2>/tmp/holdfast-mmdebstrap.log || {
		cat /tmp/holdfast-mmdebstrap.log >&2
		exit 1
	}
	lib=$tree/usr/lib/$(uname -m)-linux-gnu
	$sudo rm -f "$lib"/libLLVM*
	loader=$(find "$lib" -name 'ld-linux*.so.*' | head -n 1)
	for f in "$tree/usr/lib/postgresql/$major/bin"/*; do
		file -bL "$f" | grep -q ELF || continue
		$sudo patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$lib:$lib/blas:$lib/lapack" "$f"
	done
	$sudo chmod 755 "$tools" "$tree"
	"$tree/usr/lib/postgresql/$major/bin/postgres" --version
	echo "$want" | $sudo tee "$tree/.packages" >/dev/null
}

program() { # program NAME PACKAGE@VERSION: a Go command in $tools/bin
	stamp=$tools/bin/.$1@${2##*@}
	[ -e "$stamp" ] && return
	echo "building $1 ${2##*@}"
	build=$(mktemp -d)
	GOBIN=$build GOFLAGS=-trimpath GOWORK=off go install "$2"
	$sudo mkdir -p "$tools/bin"
	$sudo install -m 755 "$build/$1" "$tools/bin/$1"
	$sudo touch "$stamp"
	rm -r "$build"
}

azurite() { # azurite VERSION: Microsoft's emulator in $tools/azurite
	stamp=$tools/azurite/.azurite@$1
	[ -e "$stamp" ] && return
	packages node:nodejs npm:npm
	echo "installing azurite $1"
	$sudo rm -rf "$tools/azurite"
	$sudo mkdir -p "$tools/azurite"
	echo '{"private": true}' | $sudo tee "$tools/azurite/package.json" >/dev/null
	$sudo npm install --prefix "$tools/azurite" --ignore-scripts --omit=optional --no-audit --no-fund --silent "azurite@$1"
	$sudo touch "$stamp"
}

stores() {
	program versitygw github.com/versity/versitygw/cmd/versitygw@v1.8.0
	program minio github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
	program fake-gcs-server github.com/fsouza/fake-gcs-server@v1.56.1
	program gofakes3 github.com/johannesboyne/gofakes3/cmd/gofakes3@v1.2.0
	azurite 3.35.0
}

packages curl:curl setfattr:attr gzip:gzip tar:tar strace:strace pgrep:procps
for what in ${*:-15 17 stores}; do
	case $what in
	15) postgres 15 bookworm cron hypopg pgaudit plpgsql-check postgis-3 wal2json ;;
	17) postgres 17 trixie cron hypopg pgaudit pgvector plpgsql-check postgis-3 wal2json ;;
	stores) stores ;;
	*) echo "deps.sh: there is no $what; say 15, 17 or stores" >&2 && exit 1 ;;
	esac
done
