"""What a stack is doing now: services, versions, addresses, disk, linked projects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from provisioner.errors import ProvisionError, Unhealthy
from provisioner.kedro.link import linked_projects
from provisioner.model.plan import SERVES, Observed
from provisioner.model.stack import Stack
from provisioner.output import Reporter, Result, size
from provisioner.runtimes.base import SERVER, Runtime, Usage, for_memory
from provisioner.stack.checks import is_ready, light_checks
from provisioner.stack.context import StackContext
from provisioner.stack.find import open_made_stack
from provisioner.stack.secrets import read_secret

GOOD = SERVES | {"done"}


def service_rows(stack: Stack, observed: Observed, usage: Mapping[str, Usage] | None = None) -> list[dict[str, Any]]:
    """Return `{name, state, detail}` of every service, in start order.

    Add what it uses, memory in bytes, where that is known.
    """
    rows = []
    for service in stack.services:
        seen = observed.services.get(service.name)
        row: dict[str, Any] = {"name": service.name, "state": seen.state if seen else "absent", "detail": seen.detail if seen else ""}
        if usage and service.name in usage:
            row |= asdict(usage[service.name])
        rows.append(row)
    return rows


def _row_text(row: Mapping[str, Any]) -> str:
    parts = [row["detail"]]
    if row.get("memory") is not None:
        limit = f" of {row['limit'] >> 20}" if row["limit"] else ""
        parts.append(f"{row['memory'] >> 20}{limit} MB of memory")
    if row.get("restarts"):
        parts.append("restarted once" if row["restarts"] == 1 else f"restarted {row['restarts']} times")
    return ", ".join(part for part in parts if part)


def status(option: Path | None, reporter: Reporter) -> Result:
    """Report what runs and what it uses; exit code 6 when the stack is down or unhealthy."""
    context = open_made_stack(option, reporter)
    stack, runtime, uri = context.model, context.runtime, context.tracking_uri
    reporter.note("runtime", runtime.kind)
    result = Result("status", stack=str(context.source), runtime=runtime.kind)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(runtime.usage)
        observed = runtime.observe()
        usage = asked.result()
    rows = service_rows(stack, observed, usage)
    for row in rows:
        reporter.step(row["state"], row["name"], _row_text(row))
    result.lines += [f"memory        {'; '.join(said)}" for name in usage if (said := for_memory(name, usage[name]))]
    linked = [str(project) for project in linked_projects(str(context.source))]
    result.data = {"tracking_uri": uri, "services": rows, "linked": linked}
    problem = service_problem(rows) or _starting(rows, runtime)
    if problem is None and (problem := _look_inside(context, result, reporter)):
        # It may have been started anew since it was looked at.
        problem = _starting(service_rows(stack, runtime.observe()), runtime) or problem
    result.lines += [f"tracking URI  {uri}"] + [f"linked        {project}" for project in linked]
    if problem:
        result.errors.append(problem)
        result.exit_code = problem.exit_code
    return result


def _starting(rows: list[dict[str, Any]], runtime: Runtime) -> Unhealthy | None:
    """Return the error while the stack is starting and its server has not answered yet; None otherwise."""
    if all(row["state"] != "starting" for row in rows) or is_ready(runtime):
        return None
    hint = f"`provision status` again in a moment; `provision logs {SERVER}` shows how far it is"
    return Unhealthy("the stack is starting: its tracking server does not answer yet", hint=hint, left_as="")


def service_problem(rows: list[dict[str, Any]]) -> Unhealthy | None:
    """Return what keeps the services from being up; None when all are."""
    bad = [row["name"] for row in rows if row["state"] not in GOOD]
    if not bad:
        return None
    all_down = all(row["state"] in {"absent", "stopped"} for row in rows)
    what = "the stack is down" if all_down else f"not running: {', '.join(bad)}"
    return Unhealthy(what, hint="`provision up` starts it; `provision logs` shows what was said", left_as="")


def _look_inside(context: StackContext, result: Result, reporter: Reporter) -> Unhealthy | None:
    stack, runtime = context.model, context.runtime
    password = read_secret(context, "mlflow_admin_password") if stack.login else None
    failed, hint = [], ""
    for check in light_checks(context.client(password), stack.login):
        reporter.check(check)
        if not check.ok:
            failed.append(check.seen)
            hint = hint or check.hint
    facts: dict[str, Any] = {}
    for topic in ("versions", "usage"):
        try:
            facts[topic] = json.loads(runtime.probe(topic))
        except (ProvisionError, ValueError) as error:
            failed.append(f"{topic}: {error}")
    result.data |= facts
    result.lines += _facts_lines(stack, facts)
    return Unhealthy("; ".join(failed), hint=hint or "`provision logs` shows what the services say", left_as="") if failed else None


def _facts_lines(stack: Stack, facts: dict[str, Any]) -> list[str]:
    lines = []
    if versions := facts.get("versions"):
        lines.append(f"versions      {', '.join(f'{name} {value}' for name, value in versions.items() if value)}")
    if usage := facts.get("usage"):
        used = [f"backend store {size(usage.get('backend_store_bytes'))}", f"artifacts {size(usage.get('artifact_store_bytes'))}"]
        if usage.get("artifact_free_bytes") is not None:
            used.append(f"free {size(usage['artifact_free_bytes'])}")
        lines.append(f"disk          {', '.join(used)}")
    lines.append(f"reachable     front door: {_who(stack)}; stores: only from inside the stack")
    return lines


def _who(stack: Stack) -> str:
    if stack.settings.ssh and stack.settings.server.public_url:
        return f"whoever {stack.settings.server.public_url} is open to, with a login"
    if stack.settings.server.public_url:
        return f"this machine, and whoever {stack.settings.server.public_url} is open to (login {stack.settings.server.auth})"
    if stack.login:
        return "this machine, with a login"
    return "everyone with an account on this machine (server.auth: basic asks for a login)"
