"""The private certificates to trust a proxy by: found once it runs, kept in the stack's directory."""

from __future__ import annotations

from pathlib import Path

from provisioner.errors import PreflightError, Unhealthy
from provisioner.output import Reporter
from provisioner.runtimes.base import Runtime
from provisioner.runtimes.tls_files import ROOT_CERTIFICATE
from provisioner.stack.context import CA_FILE, StackContext
from provisioner.system.certificates import is_root, read_chain
from provisioner.system.host import LocalHost
from provisioner.system.wait import wait_for

DEADLINE = 30.0


def keep_clients_ca(context: StackContext, changed: bool, reporter: Reporter) -> None:
    """Write the file as the running proxy needs it, or remove it.

    Ask the runtime only after a change, or where there is no file.
    """
    now = context.clients_ca()
    if now is not None and not changed:
        return
    wanted = _found(context)
    if wanted == now:
        return
    path = context.directory / CA_FILE
    if wanted is None:
        context.host.remove(path)
        return
    context.host.put(wanted, path, 0o644)
    reporter.step(
        "created" if now is None else "changed",
        CA_FILE,
        "what clients need to trust the certificate; `provision link` hands it on",
    )


def ca_path(context: StackContext) -> Path | None:
    """Return the file of those certificates for clients of this machine; None without any.

    For a stack on a server, update a copy beside its settings and return that.
    """
    content = context.clients_ca()
    path = context.source / CA_FILE
    if content is None:
        return None
    if context.here and LocalHost().get(path) != content:
        LocalHost().put(content, path, 0o644)
    return path


def _found(context: StackContext) -> bytes | None:
    server = context.settings.server
    if server.tls == "internal":
        return authority_of(context.runtime)
    if server.tls == "acme" and server.acme_ca_file:
        return context.own_file(server.acme_ca_file)
    if server.tls == "files":
        from cryptography.hazmat.primitives.serialization import Encoding

        last = read_chain(context.own_file(server.tls_certificate or "") or b"")[-1]
        return last.public_bytes(Encoding.PEM) if is_root(last) else None
    return None


def authority_of(runtime: Runtime) -> bytes:
    """Return the root of the proxy's own authority, made when it first starts; Unhealthy at the deadline."""
    from cryptography.hazmat.primitives.serialization import Encoding

    found = wait_for(lambda: runtime.certificate_authority() or None, DEADLINE, 0.2)
    if found is None:
        raise Unhealthy(
            f"the proxy made no certificate authority within {DEADLINE:.0f} s",
            where="service proxy",
            why=runtime.logs("proxy", 10),
            hint="`provision logs proxy` shows what it waits for",
            left_as="the services run; no data was removed",
        )
    try:
        # Of what the proxy's account wrote, certificates alone are handed on.
        return b"".join(one.public_bytes(Encoding.PEM) for one in read_chain(found))
    except ValueError as error:
        raise Unhealthy(
            f"what the proxy keeps as its certificate authority is no certificate: {ROOT_CERTIFICATE}",
            where="service proxy",
            why=str(error),
            hint="find out who wrote it; without it, `provision down` and `provision up` make another",
            left_as="the services run; no data was removed",
        ) from error


def given_certificates(path: Path) -> bytes:
    """Return the file's content; raise PreflightError when no client could use it."""
    try:
        content = path.read_bytes()
        read_chain(content)
    except (OSError, ValueError) as error:
        raise PreflightError(
            "the certificates cannot be read",
            where=str(path),
            why=str(error),
            hint="give a PEM file; a stack's own is its ca.crt",
        ) from error
    return content
