#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build.sh MODULE DIRECTORY [BINARY...]: builds the Kubernetes binaries for the demo and the tests from their Go modules, at the
# versions of MODULE/go.mod. Without names it builds all. It skips a binary that was already built from these modules with these flags.
set -euo pipefail

# name, package, and seconds to build it on two cores with an empty build cache
components=(
  "kubectl                 k8s.io/kubernetes/cmd/kubectl                  170"
  "kube-apiserver          k8s.io/kubernetes/cmd/kube-apiserver           360"
  "kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager  120"
  "kube-scheduler          k8s.io/kubernetes/cmd/kube-scheduler           30"
  "etcd                    go.etcd.io/etcd/server/v3                      30"
)

module=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
wanted=" ${*:3} "
cd "$module"
# The binaries run on this machine. The caller may build for another one.
unset GOOS GOARCH
export CGO_ENABLED=0 GOWORK=off

version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' go.mod)
IFS=. read -r major minor _ <<<"${version#v}"
pkg=k8s.io/component-base/version
ldflags="-s -w -X $pkg.gitVersion=$version -X $pkg.gitMajor=$major -X $pkg.gitMinor=$minor"
recipe=$(echo "$ldflags $(go env GOOS GOARCH)" | cat - go.mod go.sum | cksum)

current() { [[ -x $out/$1 && -f $out/.$1.recipe && $(<"$out/.$1.recipe") == "$recipe" ]]; }
is_wanted() { [[ $wanted == "  " || $wanted == *" $1 "* ]]; }

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

missing=() total=0
for component in "${components[@]}"; do
  read -r name _ seconds <<<"$component"
  if is_wanted "$name" && ! current "$name"; then
    missing+=("$component") total=$((total + seconds))
  fi
done
((${#missing[@]})) || exit 0

echo "Building ${#missing[@]} binaries of Kubernetes $version from Go modules, once:" \
  "about $(((total + 59) / 60)) minutes on two cores when nothing is cached"
step=0
for component in "${missing[@]}"; do
  read -r name package seconds <<<"$component"
  step=$((step + 1))
  echo "[$step/${#missing[@]}] $name (about ${seconds}s when nothing is cached)"
  SECONDS=0
  build "$name" "$package"
  echo "      built in ${SECONDS}s"
done
