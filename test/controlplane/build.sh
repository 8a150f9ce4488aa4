#!/bin/sh
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl from Go modules into $1, once.
set -eu
cd "$(dirname "$0")"
out=$1
version=$(awk '$1 == "require" && $2 == "k8s.io/kubernetes" { print $3 }' go.mod)
[ -f "$out/$version" ] && exit 0
mkdir -p "$out"
export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false
go build -trimpath -ldflags '-s -w' -o "$out/etcd" ./etcd
go build -trimpath -o "$out/" \
  -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/client-go/pkg/version.gitVersion=$version" \
  k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/cmd/kubectl
touch "$out/$version"
