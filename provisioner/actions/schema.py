"""The schema of `provision.yml` as a command's result."""

from __future__ import annotations

import json

from provisioner.model.settings import settings_schema
from provisioner.output import Result


def schema() -> Result:
    """Return the JSON schema of the settings, as data and as text."""
    document = settings_schema()
    return Result("schema", data={"schema": document}, lines=[json.dumps(document, indent=2)])
