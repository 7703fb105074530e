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

postgres() { # postgres MAJOR SUITE: a tree in $tools/pgMAJOR
	bin=usr/lib/postgresql/$1/bin
	[ -x "/$bin/postgres" ] || [ -x "$tools/pg$1/$bin/postgres" ] && return
	packages mmdebstrap:mmdebstrap patchelf:patchelf file:file
	echo "installing PostgreSQL $1 into $tools/pg$1"
	$sudo mkdir -p "$tools"
	$sudo rm -rf "$tools/pg$1"
	# shellcheck disable=SC2024
	$sudo mmdebstrap --quiet --variant=extract --include="postgresql-$1" "$2" "$tools/pg$1" 2>/tmp/holdfast-mmdebstrap.log || {
		cat /tmp/holdfast-mmdebstrap.log >&2
		exit 1
	}
	lib=$tools/pg$1/usr/lib/$(uname -m)-linux-gnu
	$sudo rm -f "$lib"/libLLVM*
	loader=$(find "$lib" -name 'ld-linux*.so.*' | head -n 1)
	for f in "$tools/pg$1/$bin"/*; do
		file -bL "$f" | grep -q ELF || continue
		$sudo patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$lib" "$f"
	done
	$sudo chmod 755 "$tools" "$tools/pg$1"
	"$tools/pg$1/$bin/postgres" --version
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
	15) postgres 15 bookworm ;;
	17) postgres 17 trixie ;;
	stores) stores ;;
	*) echo "deps.sh: there is no $what; say 15, 17 or stores" >&2 && exit 1 ;;
	esac
done
