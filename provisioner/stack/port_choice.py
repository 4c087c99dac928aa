"""Which port a stack's proxy gets, where the user named none or the one named is taken."""

from __future__ import annotations

import ipaddress
from collections.abc import Container

from provisioner.errors import PreflightError
from provisioner.model.plan import Observed
from provisioner.model.proxy import DEFAULT_PORT, redirect_port
from provisioner.output import Reporter
from provisioner.stack.context import StackContext
from provisioner.stack.release import PORT, moves_port
from provisioner.system import ports


def decide_port(context: StackContext, observed: Observed, taken: Container[int], reporter: Reporter) -> int:
    """Return the proxy's port; raise PreflightError when it is taken and no other may be chosen.

    Keep it while our proxy has it or it is free, else take the next free one where the context may choose.
    `taken` has ports of which that is known.
    """
    if fault := address_fault(context):
        raise fault
    proxy = observed.services.get("proxy")
    port, server = context.port, context.settings.server
    # Started by hand from the rendered files, it listens where those say, and nothing was remembered yet.
    ours = (
        proxy is not None
        and proxy.state in {"running", "starting", "unhealthy"}
        and context.state.port in {port, None}
    )
    bind, redirect = server.bind, redirect_port(server, port)
    if ours and port not in taken:
        return port
    if port not in taken and context.host.is_free(bind, port):
        if redirect is None or context.host.is_free(bind, redirect):
            return port
        raise _taken(context, redirect, "proxy (server.http_port in provision.yml)", "server.http_port")
    if context.may_choose_port and (free := _next_free_port(context, port, reporter)):
        return free
    raise _taken(
        context,
        port,
        "proxy (server.port in provision.yml)" if server.port else "proxy (this stack's port)",
        PORT,
    )


def address_fault(context: StackContext) -> PreflightError | None:
    """Return the error where the stack's machine does not have the bound address; None where it has."""
    bind, host = context.settings.server.bind, context.host
    if ipaddress.ip_address(bind).is_unspecified or host.has_address(bind):
        return None
    return PreflightError(
        f"{bind} is no address of {host.name if host.is_remote else 'this machine'}",
        where="server.bind in provision.yml",
        why="the proxy cannot listen on it",
        hint="set server.bind to an address that the machine has, or to 0.0.0.0 for all of them",
    )


def port_to_render(context: StackContext, reporter: Reporter) -> int:
    """Return the stack's port; for one that never ran, and has none, a free one unless the user named it."""
    port = context.port
    is_new = not context.is_made and context.rendered_port is None
    if not is_new or context.host.is_remote or context.host.is_free(context.settings.server.bind, port):
        return port
    if context.may_choose_port:
        return _next_free_port(context, port, reporter) or port
    reporter.warn("port", f"{port} is taken by {_holder(context, port)}")
    return port


def _next_free_port(context: StackContext, port: int, reporter: Reporter) -> int | None:
    """Return the first free port after one that is taken, and report it; None when there is none near."""
    held_by = context.host.holder(port)
    free = ports.next_free(context.settings.server.bind, max(port, DEFAULT_PORT) + 1)
    if free:
        reporter.step(
            "chosen", "port", f"{free}, since {port} is taken" + (f" by {held_by}" if held_by else "")
        )
    return free


def _taken(context: StackContext, port: int, where: str, setting: str) -> PreflightError:
    why = f"held by {_holder(context, port)}"
    hint = f"stop that program, or set another {setting} in provision.yml"
    made_with = context.other_release
    if made_with and not (setting == PORT and moves_port(context.state, context.settings)):
        hint = f"stop that program; another {setting} is for the release that made the stack: {made_with}"
    return PreflightError(f"port {port} is already in use", where=where, why=why, hint=hint)


def _holder(context: StackContext, port: int) -> str:
    return context.host.holder(port) or "a program of another user"
