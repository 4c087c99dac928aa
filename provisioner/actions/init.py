"""A directory with settings to edit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from provisioner.errors import WouldLoseData
from provisioner.model.settings import SOURCE
from provisioner.output import Data, Reporter, Result
from provisioner.stack.find import find_stack

_TEMPLATE = """\
# The settings of this MLflow stack; every key has a default. `provision schema` prints them all.
# `provision up` applies a change.

# name: mlflow

# artifact_store:
#   kind: minio          # minio (Docker's default), local (the embedded default), or s3: a bucket you have
#   bucket: mlflow

# backend_store:
#   kind: postgres       # or external, with uri: postgresql+psycopg2://USER@HOST:5432/DATABASE

# server:
#   port: 5000           # absent: 5000 or the next free one
#   auth: none           # basic: everybody logs in
"""


@dataclass(frozen=True)
class InitData(Data):
    """What `init` gives."""

    command: ClassVar[str] = "init"

    path: Annotated[str, "the file written"]


def init(option: Path | None, reporter: Reporter) -> Result:
    """Write a `provision.yml` to edit into the directory given, or the current one."""
    directory = (option or Path.cwd()).absolute()
    context = find_stack(directory)
    reporter.using(stack=str(directory))
    reporter.note("stack", f"{directory} ({'the current directory' if option is None else context.reason})")
    path = directory / SOURCE
    if context.host.get(path) is not None:
        raise WouldLoseData(
            f"{SOURCE} is there already", where=str(path), hint="edit it, then `provision up`"
        )
    context.host.put(_TEMPLATE.encode(), path, 0o644)
    reporter.step("created", SOURCE, str(path))
    return Result(InitData(str(path)), ("next          provision up",))
