#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the Kubernetes binaries of the demo and the tests from their Go modules:
#   build.sh DIRECTORY
# A binary that is there already, built from these modules with these flags, is left alone.
set -euo pipefail

# name, package, and how long it takes on two cores with an empty build cache
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
# The binaries run on this machine, whatever the caller builds for.
unset GOOS GOARCH
export CGO_ENABLED=0 GOWORK=off

version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' go.mod)
IFS=. read -r major minor _ <<<"${version#v}"
pkg=k8s.io/component-base/version
ldflags="-s -w -X $pkg.gitVersion=$version -X $pkg.gitMajor=$major -X $pkg.gitMinor=$minor"
recipe=$(echo "$ldflags $(go env GOOS GOARCH)" | cat - go.mod go.sum | cksum)

current() { [[ -x $out/$1 && -f $out/.$1.recipe && $(<"$out/.$1.recipe") == "$recipe" ]]; }

# Reads what `go build -v` says: counts modules and packages, passes on the rest.
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

# Builds to another name first, so that an interruption leaves nothing that looks finished.
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
