# The MLflow server image of `provision`: hash-locked packages, nothing installed at start, no compiler, not root.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ENV NO_COLOR=1 PIP_PROGRESS_BAR=off UV_NO_PROGRESS=1
SHELL ["/bin/sh", "-eu", "-c"]
WORKDIR /build
COPY deploy/requirements-build.txt deploy/requirements-compress.txt deploy/requirements.txt deploy/build-ca.pem deploy/provision_server/web/prepare_page.py ./
# A bundle of the user's own (build.ca_file) is for a package index or proxy with a private certificate.
# PIP_INDEX_URL and the predefined proxy arguments reach both installers.
RUN if [ -s build-ca.pem ]; then export SSL_CERT_FILE=/build/build-ca.pem PIP_CERT=/build/build-ca.pem; fi; \
    if [ -n "${PIP_INDEX_URL:-}" ]; then export PIP_INDEX_URL UV_INDEX_URL="${PIP_INDEX_URL}"; else unset PIP_INDEX_URL; fi; \
    python3 -m venv /opt/uv; \
    /opt/uv/bin/python -m pip install --no-cache-dir --require-hashes -r requirements-build.txt; \
    /opt/uv/bin/uv venv --python "$(command -v python3)" /opt/venv; \
    /opt/uv/bin/uv pip install --python /opt/venv/bin/python --no-cache --no-deps --require-hashes --compile-bytecode \
      -r requirements.txt; \
    /opt/uv/bin/uv pip install --python /opt/venv/bin/python --target /build --no-cache --no-deps --require-hashes \
      -r requirements-compress.txt; \
    /opt/venv/bin/python prepare_page.py; \
    find /opt/venv -type d \( -name tests -o -name SelfTest \) -prune -exec rm -rf {} +; \
    find /opt/venv -name '*.pyi' -delete; \
    rm -f /opt/venv/.lock
COPY deploy/provision_server /opt/provision/provision_server
# Whatever the umask was where the files were made.
RUN chmod -R a+rX /opt/provision; \
    /opt/venv/bin/python -m compileall -q /opt/provision

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="provision-mlflow" \
      org.opencontainers.image.description="MLflow tracking server for PostgreSQL and S3, as made by provision" \
      org.opencontainers.image.licenses="Apache-2.0"
# Fresh named volumes take the owner of the directory that they are first mounted on.
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/mlflow /var/lib/mlflow/artifacts /var/lib/minio /var/lib/caddy
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/provision /opt/provision
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/provision \
    HOME=/tmp \
    PROVISION_TMP=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/venv/bin/python", "-m", "provision_server"]
CMD ["server"]
