"""A service's fingerprint: by it a configuration that it was not started with is noticed; pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from configparser import RawConfigParser
from typing import Any

from provisioner.runtimes.base import RenderedFile
from provisioner.runtimes.embedded.supervisord_conf import SERVICES_JSON, SUPERVISORD_CONF


def fingerprints(files: Mapping[str, RenderedFile]) -> dict[str, str]:
    """Return `PROCESS.CONTENT` of each service by name, either of which changes when it has to start anew.

    The first changes where no new process can take the service's place: it is of what supervisord and the
    launcher do for it. The second is of its command line, environment, and the files that it reads. Both are
    of what the files say, so that those of another release have the fingerprints that it gave them.
    """
    entries = json.loads(files[SERVICES_JSON].content)
    configuration = RawConfigParser()
    configuration.read_string(files[SUPERVISORD_CONF].content.decode())
    return {name: _fingerprint(name, entry, configuration, files) for name, entry in entries.items()}


def _fingerprint(
    name: str, entry: Mapping[str, Any], configuration: RawConfigParser, files: Mapping[str, RenderedFile]
) -> str:
    section = f"program:{name}"
    # Its place among the services is no reason to start it anew.
    program = dict(configuration[section]) | {"priority": ""} if section in configuration else {}
    read = {
        path: hashlib.sha256(file.content).hexdigest()
        for path, file in files.items()
        if any(path == one or path.startswith(f"{one}/") for one in entry["reads"])
    }
    return f"{_digest(program, entry.get('listen'))}.{_digest(entry, read)}"


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
