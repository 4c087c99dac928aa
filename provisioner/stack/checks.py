"""End-to-end checks through the proxy: what a client would meet, with the public Host and Origin."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from provisioner.errors import PreflightError, ProvisionError, Unhealthy
from provisioner.mlflow_api import API, ARTIFACTS
from provisioner.output import CheckResult, Reporter
from provisioner.runtimes.base import PROXY, Runtime, for_memory, see_log
from provisioner.runtimes.caddyfile import CADDYFILE, RETRY_MS, configuration_path
from provisioner.system.http import Rest, RestError
from provisioner.system.wait import wait_until

EXPERIMENT = "provision-checks"
RUN_TAG = "provision.check"
ARTIFACT = "check.bin"
METRIC_VALUES = 16
START_DEADLINE = 180.0
LONGEST_DEADLINE = 86_400.0
DEADLINE_VARIABLE = "PROVISION_START_DEADLINE"
LOG_LINES = 20
WAIT_TIMEOUT = 2.0
RELOAD_DEADLINE = 30.0
# No answer, or the proxy's own that nobody is there.
_NOBODY = {0, 502, 503, 504}


def start_deadline(environ: Mapping[str, str]) -> float:
    """Return the seconds that a started server has to answer; PreflightError for an invalid number."""
    text = environ.get(DEADLINE_VARIABLE, "")
    try:
        seconds = float(text or START_DEADLINE)
    except ValueError:
        seconds = 0
    if 0 < seconds <= LONGEST_DEADLINE:
        return seconds
    raise PreflightError(
        f"{DEADLINE_VARIABLE} is no number of seconds",
        where="environment",
        why=f"it is {text!r}",
        hint=f"set it to a number from 1 to {LONGEST_DEADLINE:.0f}, or unset it for {START_DEADLINE:.0f}",
    )


def wait_until_answering(rest: Rest, runtime: Runtime, deadline: float) -> float:
    """Return the seconds until the API answered, or refused in a way that does not pass with time.

    Raise Unhealthy at the deadline, or as soon as a service gave up.
    """
    started = looked = time.monotonic()
    seen: RestError | None = None

    def is_answered() -> bool:
        nonlocal looked, seen
        seen = None
        try:
            rest.call("POST", f"{API}/experiments/search", {"max_results": 1})
        except RestError as error:
            seen = error
        # A refused login, Host or certificate does not pass with time.
        if seen is None or seen.permanent or seen.status in {400, 401, 403, 421}:
            return True
        if time.monotonic() - looked > 1:
            looked = time.monotonic()
            _refuse_unhealthy(runtime)
        return False

    if not wait_until(is_answered, deadline, 0.1):
        raise _too_late(runtime, seen, deadline)
    return time.monotonic() - started


def reload_proxy(rest: Rest, runtime: Runtime, deadline: float) -> None:
    """Make the proxy use the configuration in its file; raise Unhealthy when it keeps the one before.

    Ask it first, so that a change which was interrupted before the reload is finished by the next `up`.
    """
    path = configuration_path(runtime.files()[CADDYFILE].content.decode())
    if _is_answered(rest, path) is None:
        return
    _wait_until_ready(runtime, deadline)
    runtime.reload()
    wait_until(lambda: _is_answered(rest, path) is None, RELOAD_DEADLINE, 0.1)
    seen = _is_answered(rest, path)
    # What is wrong with a certificate, or a name, the checks say in their own words.
    if seen is not None and not seen.permanent:
        raise Unhealthy(
            "the proxy does not take its new configuration",
            where=f"service {PROXY}",
            why=runtime.logs(PROXY, LOG_LINES),
            hint=see_log(PROXY),
            left_as="it serves with the configuration before; no data was removed",
        )


def _wait_until_ready(runtime: Runtime, deadline: float) -> None:
    """Wait, until the deadline at most, for the server to answer and calls held for it to be let through.

    A reload would send those away.
    """

    def is_up() -> bool:
        if is_ready(runtime):
            return True
        _refuse_unhealthy(runtime)
        return False

    if wait_until(is_up, deadline, 0.3):
        time.sleep(3 * RETRY_MS / 1000)


def is_ready(runtime: Runtime) -> bool:
    """Return whether the server answers, asked inside the stack."""
    try:
        runtime.probe("ready")
    except ProvisionError:
        return False
    return True


def _is_answered(rest: Rest, path: str) -> RestError | None:
    """Return None when the path is answered well, else why not."""
    try:
        rest.get_bytes(path)
    except RestError as error:
        return error
    return None


def _refuse_unhealthy(runtime: Runtime) -> None:
    """Raise Unhealthy for a service that ended or restarts over and over; do nothing while there is hope."""
    for service in runtime.observe().services.values():
        if service.state in {"failed", "unhealthy"}:
            known = (f"{service.name} does not get healthy", see_log(service.name))
            what, hint = for_memory(service.name, runtime.usage().get(service.name)) or known
            raise Unhealthy(
                what,
                where=f"service {service.name}: {service.detail}",
                why=runtime.logs(service.name, LOG_LINES),
                hint=hint,
                left_as="the other services run; no data was removed",
            )


def _too_late(runtime: Runtime, seen: RestError | None, deadline: float) -> Unhealthy:
    """Return the error for a missed deadline: what was seen, the server's state and its last lines."""
    server = runtime.observe().services.get("mlflow")
    state = f"{server.state}, {server.detail}" if server else "missing"
    return Unhealthy(
        f"the tracking server did not answer within {deadline:.0f} s",
        where=f"service mlflow: {state}",
        why=f"{seen or ''}\n{runtime.logs('mlflow', LOG_LINES)}".strip(),
        hint=(seen and seen.hint)
        or f"`provision logs mlflow` shows more; {DEADLINE_VARIABLE} gives a slow machine more time",
        left_as="the services still run; no data was removed",
    )


def light_checks(rest: Rest, login: bool) -> Iterator[CheckResult]:
    """Yield whether the API answers and, where there is a login, whether a stranger is refused."""
    yield _api(rest)
    if login:
        yield from _stranger(rest)


def full_checks(rest: Rest, runtime: Runtime, login: bool) -> Iterator[CheckResult]:
    """Yield the light checks and, if the API answers, those of the stores.

    A run is written and read back; an artifact is sent and fetched through the server, and seen in the store.
    """
    api = _api(rest)
    yield api
    if login:
        yield from _stranger(rest)
    if not api.ok:
        return
    found: dict[str, Any] = {}
    try:
        yield _observed("backend store", lambda: _run_round_trip(rest, found))
        if "artifacts" in found:
            yield _observed("artifact store", lambda: _artifact_round_trip(rest, runtime, found))
    finally:
        if "experiment" in found:
            _hide(rest, found["experiment"])


def report(checks: Iterator[CheckResult], reporter: Reporter) -> None:
    """Show every check as it comes; raise Unhealthy, which names those that failed."""
    failed = []
    for result in checks:
        reporter.check(result)
        if not result.ok:
            failed.append(result)
    if failed:
        raise Unhealthy(
            "; ".join(f"{check.name}: {check.seen}" for check in failed),
            hint=failed[0].hint or "`provision logs` shows what the services say",
            left_as="the services run; no data was removed",
        )


def _observed(name: str, look: Callable[[], CheckResult]) -> CheckResult:
    try:
        return look()
    except RestError as error:
        return CheckResult(name, False, str(error))
    except ProvisionError as error:
        return CheckResult(name, False, f"{error.what} {error.why}".strip(), error.hint)


def _api(rest: Rest) -> CheckResult:
    started = time.monotonic()
    try:
        rest.call("POST", f"{API}/experiments/search", {"max_results": 1})
    except RestError as error:
        hint = {
            403: "server.public_url in provision.yml must be the address that people type",
            401: "the admin password was changed; put the one in use into secrets/mlflow_admin_password",
            421: "server.public_url in provision.yml must be the address that people type",
        }.get(error.status, error.hint or "`provision logs mlflow` shows why")
        return CheckResult("tracking server", False, str(error), hint)
    return CheckResult(
        "tracking server", True, f"the API answered in {(time.monotonic() - started) * 1000:.0f} ms"
    )


def _stranger(rest: Rest) -> Iterator[CheckResult]:
    """Yield whether a request without a login is refused; nothing while there is no server to refuse it."""
    try:
        rest.anonymous().call("POST", f"{API}/experiments/search", {"max_results": 1})
    except RestError as error:
        if error.status not in _NOBODY:
            yield CheckResult(
                "access", error.status == 401, f"a request without a login was answered {error.status}"
            )
    else:
        yield CheckResult("access", False, "a request without a login was let in", "`provision logs mlflow`")


def _run_round_trip(rest: Rest, found: dict[str, Any]) -> CheckResult:
    """Log to one run of one experiment, over and over, with a metric of few values, so nothing piles up."""
    experiment = found["experiment"] = _experiment(rest)
    run = _check_run(rest, experiment)
    nonce, value = os.urandom(8).hex(), float(int.from_bytes(os.urandom(1), "big") % METRIC_VALUES)
    rest.call("POST", f"{API}/runs/set-tag", {"run_id": run, "key": "provision.nonce", "value": nonce})
    metric = {"run_id": run, "key": "check", "value": value, "timestamp": 1, "step": int(value)}
    rest.call("POST", f"{API}/runs/log-metric", metric)
    info = rest.call("GET", f"{API}/runs/get?run_id={run}", None)["run"]
    tags = {tag["key"]: tag["value"] for tag in info["data"].get("tags", [])}
    history = rest.call("GET", f"{API}/metrics/get-history?run_id={run}&metric_key=check", None)
    values = {point["value"] for point in history.get("metrics", [])}
    if tags.get("provision.nonce") != nonce or value not in values:
        return CheckResult("backend store", False, f"run {run[:8]} was not read back as it was written")
    uri = info["info"]["artifact_uri"]
    if not uri.startswith("mlflow-artifacts:"):
        return CheckResult(
            "backend store", False, f"artifacts of new runs go to {uri}, not through the server"
        )
    found["artifacts"] = urlsplit(uri).path.lstrip("/")
    return CheckResult("backend store", True, f"run {run[:8]} logged and read back")


def _experiment(rest: Rest) -> str:
    try:
        found = rest.call("GET", f"{API}/experiments/get-by-name?experiment_name={EXPERIMENT}", None)[
            "experiment"
        ]
    except RestError as error:
        if error.status != 404:
            raise
        return str(rest.call("POST", f"{API}/experiments/create", {"name": EXPERIMENT})["experiment_id"])
    if found["lifecycle_stage"] == "deleted":
        rest.call("POST", f"{API}/experiments/restore", {"experiment_id": found["experiment_id"]})
    return str(found["experiment_id"])


def _hide(rest: Rest, experiment: str) -> None:
    """Delete the experiment, as the next checks restore it: it is in nobody's list.

    What fails here, they do again.
    """
    with contextlib.suppress(RestError):
        rest.call("POST", f"{API}/experiments/delete", {"experiment_id": experiment})


def _check_run(rest: Rest, experiment: str) -> str:
    query = {"experiment_ids": [experiment], "filter": f"tags.`{RUN_TAG}` = 'true'", "max_results": 1}
    runs = rest.call("POST", f"{API}/runs/search", query).get("runs", [])
    if runs:
        return str(runs[0]["info"]["run_id"])
    tags = [{"key": RUN_TAG, "value": "true"}, {"key": "mlflow.runName", "value": "provision-check"}]
    body = {"experiment_id": experiment, "start_time": int(time.time() * 1000), "tags": tags}
    return str(rest.call("POST", f"{API}/runs/create", body)["run"]["info"]["run_id"])


def _artifact_round_trip(rest: Rest, runtime: Runtime, found: dict[str, Any]) -> CheckResult:
    path = f"{found['artifacts']}/{ARTIFACT}"
    sent = os.urandom(1024)
    rest.put_bytes(f"{ARTIFACTS}/{path}", sent)
    if rest.get_bytes(f"{ARTIFACTS}/{path}") != sent:
        return CheckResult("artifact store", False, "the file came back with other bytes")
    stored = json.loads(runtime.probe("artifact", path))
    if not stored.get("exists") or stored.get("size") != len(sent):
        return CheckResult("artifact store", False, f"the store has no such file: {stored}")
    return CheckResult(
        "artifact store", True, "1 KiB sent and fetched through the server, same bytes; it is in the store"
    )
