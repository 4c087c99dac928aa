"""The stack's page in the user's browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from provisioner.errors import Unhealthy
from provisioner.output import Data, Reporter, Result, TrackingUri
from provisioner.stack.find import open_made_stack
from provisioner.system.http import RestError


@dataclass(frozen=True)
class OpenData(Data):
    """What `open` gives."""

    command: ClassVar[str] = "open"

    tracking_uri: TrackingUri
    opened: Annotated[bool, "whether a browser was told to show the page"]


def open_page(option: Path | None, reporter: Reporter) -> Result:
    """Open the page, or give its address where there is no browser with a screen.

    Raise Unhealthy when the stack does not answer.
    """
    context = open_made_stack(option, reporter)
    uri = context.tracking_uri
    try:
        context.client().get_bytes("/health")
    except RestError as error:
        hint = error.hint or "`provision up` starts the stack"
        raise Unhealthy(
            "the page does not answer", where=uri, why=str(error), hint=hint, left_as=""
        ) from error
    opened = _has_screen() and webbrowser.open(f"{uri}/")
    return Result(OpenData(uri, opened), (f"{'opened' if opened else 'open':<13} {uri}/",))


def _has_screen() -> bool:
    """Return whether a browser can open a window here; one in the terminal would take that over."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
