#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the peers of the benchmark into a directory. Without them, make bench leaves out their rows.
set -eu -o pipefail

target=$1
here=$(dirname "${BASH_SOURCE[0]}")

skip() {
	echo "peers: $1, so make bench leaves out their rows" >&2
	rm -rf "$target"
	exit 0
}

# need PROGRAM PACKAGE installs a Debian package if there is no such program.
need() {
	command -v "$1" >/dev/null && return
	{ apt-get update && apt-get install --yes --no-install-recommends "$2"; } >/dev/null 2>&1 || true
	command -v "$1" >/dev/null || skip "there is no $1, and it cannot be installed"
}

need node nodejs
need npm npm
need redis-server redis-server
mkdir -p "$target"
cp "$here"/package.json "$here"/*.mjs "$target"
# The peers come with the binaries that they need: no package has to compile or download any.
npm --prefix "$target" install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error >/dev/null ||
	skip "npm cannot install them"
