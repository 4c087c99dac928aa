"""The stack's page in the user's browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

from provisioner.errors import Unhealthy
from provisioner.output import Reporter, Result
from provisioner.stack.find import open_made_stack
from provisioner.system.http import RestError


def open_page(option: Path | None, reporter: Reporter) -> Result:
    """Open the page, or give its address where there is no browser with a screen; Unhealthy when the stack does not answer."""
    context = open_made_stack(option, reporter)
    uri = context.tracking_uri
    try:
        context.client().get_bytes("/health")
    except RestError as error:
        hint = error.hint or "`provision up` starts the stack"
        raise Unhealthy("the page does not answer", where=uri, why=str(error), hint=hint, left_as="") from error
    result = Result("open", stack=str(context.source), runtime=context.model.runtime)
    result.data = {"tracking_uri": uri, "opened": _has_screen() and webbrowser.open(f"{uri}/")}
    result.lines.append(f"{'opened' if result.data['opened'] else 'open':<13} {uri}/")
    return result


def _has_screen() -> bool:
    """Return whether a browser can open a window here; one in the terminal would take that over."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
