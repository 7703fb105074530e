#!/bin/sh
# Installs what the tests and the sample project need and is not here yet: a few
# Debian packages, and PostgreSQL 15 and 17 as trees of their own, so that the
# host's PostgreSQL, if any, stays as it is. Arguments are the PostgreSQL majors;
# default: 15 17.
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

packages curl:curl setfattr:attr gzip:gzip tar:tar strace:strace pgrep:procps
for major in ${*:-15 17}; do
	case $major in
	15) postgres 15 bookworm ;;
	17) postgres 17 trixie ;;
	*) echo "no PostgreSQL $major" >&2 && exit 1 ;;
	esac
done
