"""Whether a server can have a stack: everything that is missing at once, before anything is changed."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from provisioner.errors import PreflightError
from provisioner.model.proxy import is_address, public_host, redirect_port
from provisioner.output import Reporter
from provisioner.remote import facts as server_facts
from provisioner.remote.facts import Finding, Wanted
from provisioner.stack.context import StackContext
from provisioner.stack.port_choice import address_fault
from provisioner.system.ssh import SSHHost


def check_server(context: StackContext, host: SSHHost, domain_elsewhere: bool, reporter: Reporter) -> None:
    """Check that the stack can be set up or changed there; raise PreflightError with every finding."""
    with reporter.working("looking at the server"):
        script = ["/bin/sh", "-c", server_facts.script(), "sh", str(context.directory)]
        facts = server_facts.parse(host.run(script, timeout=120, check=False).text)
        found = [*server_facts.findings(facts, _wanted(context)), *_forwarding(host)]
        foreign = address_fault(context)
    name = public_host(context.settings.server)
    if context.settings.server.tls == "acme" and not domain_elsewhere:
        found += _domain(
            name,
            {*server_facts.addresses(facts), *_addresses_of(host.connection.resolved().get("hostname", ""))},
        )
    faults = [PreflightError(one.what, where=host.name, why=one.why, hint=one.hint) for one in found]
    faults += [foreign] if foreign else []
    if faults:
        raise PreflightError(f"{host.name} has {len(faults)} finding(s)", faults=tuple(faults))
    reporter.step("checked", "server", _summary(facts, host.facts))


def _wanted(context: StackContext) -> Wanted:
    """Return what the deploy needs of the server; a stack that was made already holds its ports itself."""
    server, port = context.settings.server, context.port
    redirect = redirect_port(server, port)
    wanted = {port, redirect} if redirect else {port}
    if context.is_made:
        # Its own: what it listened on when it was made, and the redirect that goes with it.
        wanted -= {context.state.port, redirect_port(server, context.state.port or port) or 0}
    return Wanted(server.bind, tuple(sorted(wanted)), not context.is_made)


def _forwarding(host: SSHHost) -> list[Finding]:
    """Return a finding unless checks and logins can reach the proxy through the SSH connection."""
    if host.reaches():
        return []
    hint = (
        "let it: `AllowTcpForwarding local` in the server's sshd_config, "
        "and no `no-port-forwarding` at the account's key"
    )
    return [
        Finding(
            "its SSH server lets no connection through", "its proxy is asked over the SSH connection", hint
        )
    ]


def _domain(name: str, own: set[str]) -> list[Finding]:
    """Return a finding unless the name leads to this server, where an ACME server asks."""
    found = _addresses_of(name)
    if not found:
        return [
            Finding(
                f"the domain {name} leads nowhere",
                hint="make a DNS record for it that leads to the server, then deploy again",
            )
        ]
    if found & own:
        return []
    why = f"it leads to {', '.join(sorted(found))}; the server is {', '.join(sorted(own))}"
    hint = (
        "change its DNS record; or, where something forwards ports 80 and 443 to the server, "
        "`--domain-elsewhere`"
    )
    return [Finding(f"the domain {name} does not lead to the server", why, hint)]


def _addresses_of(name: str) -> set[str]:
    if is_address(name):
        return {name}
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except OSError:
        return set()


def _summary(facts: Mapping[str, str], host: Mapping[str, str]) -> str:
    engine, compose = facts["docker"].splitlines()[-1], facts["compose"].splitlines()[-1]
    return f"Docker {engine}, Compose {compose.removeprefix('v')}, {host.get('machine', '')}"
