#!/bin/sh
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl from Go modules into directory $1; does nothing where
# they are there already, made from the same go.mod, go.sum and sources. Needs Go 1.26; takes minutes when nothing is cached.
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"

# One builder at a time. The lock is the file descriptor's, so it goes with the process however that ends.
exec 9>"$out/.lock"
flock 9

origin=$(cat go.mod go.sum etcd/main.go build.sh | sha256sum | cut -d ' ' -f 1)
[ "$(cat "$out/.origin" 2>/dev/null)" = "$origin" ] && exit 0

# Built beside and moved into place one by one: a program that runs from here keeps its own file.
new=$out/.new
rm -rf "$new" "$out/.origin"
mkdir "$new"
echo 'Building a Kubernetes control plane for tests, once; with nothing cached it takes about five minutes.' >&2
version=$(awk '$1 == "require" && $2 == "k8s.io/kubernetes" { print $3 }' go.mod)
export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false
go build -trimpath -ldflags '-s -w' -o "$new/etcd" ./etcd
go build -trimpath -o "$new/" \
  -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/client-go/pkg/version.gitVersion=$version" \
  k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/cmd/kubectl
mv -f "$new"/* "$out/"
rmdir "$new"
echo "$origin" > "$out/.origin"
