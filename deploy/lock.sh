#!/bin/sh
# Resolves the server's requirements anew, with hashes, for every Python and platform that we support, with the version
# $MLFLOW of MLflow where that is set; then derives from the locked MLflow which paths its FastAPI application answers.
set -eu
cd "$(dirname "$0")"
if [ -n "${MLFLOW:-}" ]; then
  sed "s/^mlflow==.*/mlflow==$MLFLOW/" requirements.in >requirements.in.new
  mv requirements.in.new requirements.in
fi
uv="${UV:-uv}"
for name in requirements requirements-embedded requirements-build requirements-compress; do
  "$uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-annotate --no-header --excludes requirements-excluded.txt \
    --output-file "$name.txt" "$@" "$name.in"
done
"$uv" run --quiet --no-project --isolated --with-requirements requirements.txt python -W ignore provision_server/web/routes.py >provision_server/web/asgi_paths.txt
