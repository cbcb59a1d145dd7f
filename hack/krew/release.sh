#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# release.sh VERSION DIR: builds the kubectl plugin for every platform in config/krew/jobrun.yaml. It writes the archives,
# and jobrun.yaml with its placeholders filled, to DIR. A release uploads all of them.
set -euo pipefail
version=$1 dir=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+ ]] || { echo "krew wants a version like v1.2.3, not $version" >&2; exit 1; }

mkdir -p "$dir"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
fill=(-e "s|@VERSION@|$version|g")
for platform in $(sed -n 's|.*@SHA256_\(.*\)@.*|\1|p' "$root/config/krew/jobrun.yaml"); do
  os=${platform%_*} arch=${platform#*_}
  binary=kubectl-jobrun
  [[ $os == windows ]] && binary=kubectl-jobrun.exe
  archive=$dir/kubectl-jobrun_$platform.tar.gz
  rm -f "$stage"/*
  install -m 644 "$root/LICENSE" "$stage"
  CGO_ENABLED=0 GOOS=$os GOARCH=$arch go -C "$root" build -trimpath -ldflags "-s -w -X main.version=$version" \
    -o "$stage/$binary" ./cmd/kubectl-jobrun
  # The same binary gives the same archive: it has no times and no owners.
  tar -C "$stage" --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - "$binary" LICENSE | gzip -n >"$archive"
  sum=$(sha256sum "$archive")
  fill+=(-e "s|@SHA256_$platform@|${sum%% *}|")
  echo "wrote $archive"
done
sed "${fill[@]}" -e '/^# A release fills/d' "$root/config/krew/jobrun.yaml" >"$dir/jobrun.yaml"
echo "wrote $dir/jobrun.yaml"
