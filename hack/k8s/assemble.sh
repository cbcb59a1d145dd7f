#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# assemble.sh MODULE BUILT LINKS [BINARY...]: fills the directory LINKS with links to the Kubernetes binaries of the demo, without
# names to all. It takes those that are on this machine and fit the versions of MODULE/go.mod, and builds the others into BUILT.
#
# It looks into KUBEBUILDER_ASSETS, BUILT, the store of setup-envtest, /usr/local/kubebuilder/bin and PATH, in this order. If
# KUBEBUILDER_ASSETS has all binaries, it takes them whatever their version.
set -euo pipefail
module=$1 built=$2 links=$3
names=("${@:4}")
# The binaries run on this machine. The caller may build for another one.
platform=$(unset GOOS GOARCH && go env GOOS GOARCH | paste -sd-)
((${#names[@]})) || names=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl)

pinned() { awk -v module="$1" '$1 == module { sub(/^v/, "", $2); print $2; exit }' "$module/go.mod"; }
kubernetes=$(pinned k8s.io/kubernetes)
etcd=$(pinned go.etcd.io/etcd/server/v3)

minor() { cut -d. -f2 <<<"$1"; }

# version_of prints the version of a binary, such as 1.37.2. It prints nothing if the binary does not tell.
version_of() {
  local flags=(--version)
  [[ $1 == kubectl ]] && flags=(version --client)
  timeout 20 "$2" "${flags[@]}" 2>/dev/null </dev/null |
    sed -nE 's/^(Kubernetes|etcd Version:|Client Version:) v?([0-9]+\.[0-9]+\.[0-9]+).*/\2/p' | head -n 1 || true
}

# fits reports whether a binary of a version can be part of the control plane. Its parts must be of one minor version. kubectl may
# differ by one, and etcd may be one older.
fits() {
  local name=$1 version=$2 distance
  [[ -n $version ]] || return 1
  case $name in
    etcd)
      distance=$(($(minor "$etcd") - $(minor "$version")))
      [[ ${version%%.*} == "${etcd%%.*}" ]] && ((distance <= 1)) ;;
    kubectl)
      distance=$(($(minor "$kubernetes") - $(minor "$version")))
      ((distance <= 1 && distance >= -1)) ;;
    *) [[ ${version%.*} == "${kubernetes%.*}" ]] ;;
  esac
}

# places prints the directories that may have binaries. Of the store of setup-envtest it prints the newest version first.
places() {
  [[ -z ${KUBEBUILDER_ASSETS:-} ]] || echo "$KUBEBUILDER_ASSETS"
  echo "$built"
  find "${XDG_DATA_HOME:-$HOME/.local/share}/kubebuilder-envtest/k8s" -mindepth 1 -maxdepth 1 -name "*-$platform" 2>/dev/null |
    sort -rV || true
  echo /usr/local/kubebuilder/bin
  tr : '\n' <<<"$PATH"
}

# chosen reports whether KUBEBUILDER_ASSETS has all binaries.
chosen() {
  local name
  for name in "${names[@]}"; do
    [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/$name ]] || return 1
  done
}

# find_binary prints the version and the path of the first binary that fits.
find_binary() {
  local name=$1 place version
  while IFS= read -r place; do
    [[ -x $place/$name && ! -d $place/$name ]] || continue
    version=$(version_of "$name" "$place/$name")
    if fits "$name" "$version"; then
      echo "$version $place/$name"
      return
    fi
    [[ $place == "$built" ]] || echo "$place/$name is version ${version:-unknown}, which does not fit Kubernetes $kubernetes" >&2
  done < <(places)
}

mkdir -p "$links"
if chosen; then
  echo "Using the Kubernetes binaries in $KUBEBUILDER_ASSETS"
  for name in "${names[@]}"; do
    ln -sfn "$KUBEBUILDER_ASSETS/$name" "$links/$name"
  done
  exit 0
fi
missing=()
for name in "${names[@]}"; do
  read -r version path <<<"$(find_binary "$name")"
  if [[ -z $path ]]; then
    missing+=("$name")
    continue
  fi
  [[ $path == "$built/$name" ]] || echo "Using $name $version from $path"
  ln -sfn "$path" "$links/$name"
done
((${#missing[@]})) || exit 0
"$(dirname "$0")/build.sh" "$module" "$built" "${missing[@]}"
for name in "${missing[@]}"; do
  ln -sfn "$built/$name" "$links/$name"
done
