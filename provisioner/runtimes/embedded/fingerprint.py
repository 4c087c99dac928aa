"""A service's fingerprint: by it a configuration that it was not started with is noticed; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from provisioner.runtimes.base import RenderedFile
from provisioner.runtimes.embedded.supervisord_conf import ProcessSpec, render_launcher, render_program


def fingerprint(spec: ProcessSpec, files: Mapping[str, RenderedFile]) -> str:
    """Return `PROCESS.CONTENT`, either of which changes when the service has to be started anew.

    The first changes where no new process can take the service's place: it is of what supervisord and the
    launcher do for it. The second is of its command line, environment, and the files that it reads.
    """
    kept = [render_program(spec, 0).encode(), repr(spec.listen).encode()] if spec.long_running else []
    parts = [render_launcher([spec]).encode()]
    for path, file in sorted(files.items()):
        if any(path == name or path.startswith(f"{name}/") for name in spec.reads):
            parts += [path.encode(), file.content]
    return f"{_digest(kept)}.{_digest(parts)}"


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}\0".encode() + part)
    return digest.hexdigest()[:16]
