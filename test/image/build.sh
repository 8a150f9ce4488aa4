#!/bin/bash
# Builds the image as the Dockerfile says and runs it as a cluster would: uid 65532, no capabilities, read-only root.
#
#   test/image/build.sh [IMAGE [ARGUMENTS...]]     default: localhost/postern:test --help
#
# BASE names the base image; without it one is made here by debootstrap, from this machine's npm and the Node of
# package-lock.json, and kept in ${XDG_CACHE_HOME:-~/.cache}/postern/image with buildah's own storage. Needs root (as
# debootstrap and the chroot isolation of buildah do), buildah, runc, jq, and debootstrap unless BASE is given.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/postern/image
image=${1:-localhost/postern:test}
shift || true
[ $# -gt 0 ] || set -- --help

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --root "$cache/storage" --runroot "$cache/run" --storage-driver overlay "$@"; }

if [ -z "${BASE:-}" ]; then
  node=$(cd "$checkout" && node_modules/.bin/node -p process.execPath)
  BASE=localhost/postern-base:$("$node" -p process.versions.node)
  if ! buildah inspect --type image "$BASE" > /dev/null 2>&1; then
    context=$(mktemp -d "$cache/base.XXXXXX")
    trap 'rm -rf "$context"' EXIT
    root=$context/root
    debootstrap --variant=minbase --include=libstdc++6,binutils bookworm "$root" > "$cache/debootstrap.log" 2>&1
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    mkdir -p "$root/usr/local/lib/node_modules"
    cp "$node" "$root/usr/local/bin/node"
    cp -r "$(npm root -g)/npm" "$root/usr/local/lib/node_modules/npm"
    ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
    tar --numeric-owner --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' -C "$root" -cf "$context/root.tar" .
    printf 'FROM scratch\nADD root.tar /\n' > "$context/Dockerfile"
    buildah bud --layers=false -t "$BASE" -f "$context/Dockerfile" --ignorefile /dev/null "$context" > "$cache/base.log" 2>&1
    rm -rf "$context"
  fi
fi

# The host's certificates, for machines behind a proxy that has its own.
authorities=/etc/ssl/certs/ca-certificates.crt
secret=()
[ ! -f "$authorities" ] || secret=(--secret "id=ca,src=$authorities")
buildah bud --layers --network host --build-arg BASE="$BASE" "${secret[@]}" --timestamp 0 -t "$image" "$checkout" \
  > "$cache/build.log" 2>&1 || { tail -n 30 "$cache/build.log" >&2; exit 1; }

container=$(buildah from --pull-never "$image")
bundle=$(mktemp -d "$cache/bundle.XXXXXX")
trap 'buildah umount "$container" > /dev/null; buildah rm "$container" > /dev/null; rm -rf "$bundle"' EXIT
root=$(buildah mount "$container")
du --apparent-size -ch -d 2 "$root" | sort -k 2 | sed "s#$root/*#/#" >&2

# What the image itself says about how to run it, and what a restricted Pod Security policy demands.
buildah inspect --type image "$image" | jq '.OCIv1.config' > "$bundle/image.json"
jq -e '.User == "65532:65532"' "$bundle/image.json" > /dev/null || { echo "$image does not run as 65532:65532" >&2; exit 1; }
(cd "$bundle" && runc spec)
jq --arg root "$root" --slurpfile image "$bundle/image.json" '
  .root = {path: $root, readonly: true}
  | .process.terminal = false
  | .process.user = ($image[0].User | split(":") | {uid: .[0] | tonumber, gid: .[1] | tonumber})
  | .process.args = $image[0].Entrypoint + $ARGS.positional
  | .process.env = $image[0].Env
  | .process.cwd = $image[0].WorkingDir
  | .process.noNewPrivileges = true
  | .process.capabilities |= map_values([])
' "$bundle/config.json" --args -- "$@" > "$bundle/new.json"
mv "$bundle/new.json" "$bundle/config.json"
runc --root "$cache/runc" run --bundle "$bundle" "postern-$$"
