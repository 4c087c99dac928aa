#!/bin/sh
# Resolves the server's requirements anew, with hashes, for every Python and platform that we support.
set -eu
cd "$(dirname "$0")"
for name in requirements requirements-embedded requirements-build; do
  "${UV:-uv}" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-annotate --no-header --excludes requirements-excluded.txt \
    --output-file "$name.txt" "$@" "$name.in"
done
