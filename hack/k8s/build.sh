#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build.sh DIRECTORY: builds the Kubernetes binaries for the demo and the tests from their Go modules. It skips a binary
# that was already built from these modules with these flags.
set -euo pipefail

# name, package, and build time on two cores with an empty build cache
components=(
  "kubectl                 k8s.io/kubernetes/cmd/kubectl                  2min"
  "kube-apiserver          k8s.io/kubernetes/cmd/kube-apiserver           3min"
  "kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager  1min"
  "kube-scheduler          k8s.io/kubernetes/cmd/kube-scheduler           20s"
  "etcd                    go.etcd.io/etcd/server/v3                      15s"
)

mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
# The binaries run on this machine. The caller may build for another one.
unset GOOS GOARCH
export CGO_ENABLED=0 GOWORK=off

version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' go.mod)
IFS=. read -r major minor _ <<<"${version#v}"
pkg=k8s.io/component-base/version
ldflags="-s -w -X $pkg.gitVersion=$version -X $pkg.gitMajor=$major -X $pkg.gitMinor=$minor"
recipe=$(echo "$ldflags $(go env GOOS GOARCH)" | cat - go.mod go.sum | cksum)

current() { [[ -x $out/$1 && -f $out/.$1.recipe && $(<"$out/.$1.recipe") == "$recipe" ]]; }

# progress reads the output of `go build -v`. It counts modules and packages, and prints the other lines.
progress() {
  local line packages=0 modules=0
  while IFS= read -r line; do
    case $line in
      "go: downloading"*) modules=$((modules + 1)) ;;
      *[[:space:]:]*) echo "$line" >&2; continue ;;
      *) packages=$((packages + 1)) ;;
    esac
    (((modules + packages) % 250)) || echo "      $modules modules downloaded, $packages packages compiled, ${SECONDS}s"
  done
}

# build builds under a temporary name, so that an interruption leaves no binary that looks finished.
build() {
  local name=$1 package=$2
  trap 'rm -f "$out/.$name.$$"' EXIT
  rm -f "$out/.$name.recipe"
  go build -v -trimpath -ldflags "$ldflags" -o "$out/.$name.$$" "$package" 2>&1 | progress
  mv "$out/.$name.$$" "$out/$name"
  echo "$recipe" >"$out/.$name.recipe"
}

step=0
for component in "${components[@]}"; do
  read -r name package estimate <<<"$component"
  step=$((step + 1))
  current "$name" && continue
  echo "[$step/${#components[@]}] $name (about $estimate when nothing is cached)"
  SECONDS=0
  build "$name" "$package"
  echo "      built in ${SECONDS}s"
done
