"""The schema of `provision.yml` as a command's result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from provisioner.model.settings import settings_schema
from provisioner.output import Data, Result


@dataclass(frozen=True)
class SchemaData(Data):
    """What `schema` gives."""

    command: ClassVar[str] = "schema"

    schema: Annotated[dict[str, Any], "the JSON schema of `provision.yml`"]


def schema() -> Result:
    """Return the JSON schema of the settings, as data and as text."""
    document = settings_schema()
    return Result(SchemaData(document), (json.dumps(document, indent=2),))
