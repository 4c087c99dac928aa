"""The stack's page in the user's browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

from provisioner.errors import Unhealthy
from provisioner.output import Reporter, Result
from provisioner.stack.context import client, front_door, never_made, stack_port, tracking_uri
from provisioner.stack.directory import find_stack
from provisioner.system.http import RestError


def open_page(option: Path | None, reporter: Reporter) -> Result:
    """Open the page, or give its address where there is no browser with a screen; Unhealthy when the stack does not answer."""
    opened = find_stack(option)
    opened.announce(reporter)
    if opened.state.runtime is None:
        raise never_made(opened)
    uri = tracking_uri(opened, stack_port(opened))
    try:
        client(front_door(opened, stack_port(opened)), uri, None).get_bytes("/health")
    except RestError as error:
        hint = error.hint or "`provision up` starts the stack"
        raise Unhealthy("the page does not answer", where=uri, why=str(error), hint=hint, left_as="") from error
    result = Result("open", stack=str(opened.source), runtime=opened.state.runtime)
    result.data = {"tracking_uri": uri, "opened": _has_screen() and webbrowser.open(f"{uri}/")}
    result.lines.append(f"{'opened' if result.data['opened'] else 'open':<13} {uri}/")
    return result


def _has_screen() -> bool:
    """Return whether a browser can open a window here; one in the terminal would take that over."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
