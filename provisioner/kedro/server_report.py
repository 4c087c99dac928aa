"""A tracking server as a client of this account sees it."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass

from provisioner.kedro.experiment import RunExperiment, experiment_problem
from provisioner.mlflow_api import API, StackRest
from provisioner.output import counted
from provisioner.system.certificates import clients_ca_file
from provisioner.system.http import Rest, RestError
from provisioner.system.proxies import swallowing_proxy

TIMEOUT = 3.0
_PAGE = 1000
_BYPASSED = "new experiments go through the server; move runs of the old ones, or give them a new name"


@dataclass(frozen=True)
class ExperimentReport:
    """An experiment whose artifacts do not go through the server."""

    experiment_id: str
    name: str
    artifact_location: str


@dataclass(frozen=True)
class ServerReport:
    """A tracking server as seen from here: does it answer, does its API, and which experiments bypass it."""

    uri: str
    answers: bool
    api: bool
    seen: str
    hint: str = ""
    proxy: str = ""
    experiments: int = 0
    bypassing: tuple[ExperimentReport, ...] = ()
    mlflow: str = ""
    """The release of MLflow that it says it is."""
    problem: str = ""
    """Why it does not take the project's runs, or not their artifacts."""
    refuses_login: bool = False
    """Whether it refuses the login, or wants one where none was sent."""

    @property
    def ok(self) -> bool:
        """Return whether clients reach it and may use it."""
        return self.answers and self.api and not self.proxy and not self.problem


def server_report(
    uri: str,
    experiment: RunExperiment,
    username: str = "",
    password: str = "",
    ca_file: str = "",
    *,
    identity: str = "",
    remedy: str = "",
    timeout: float = TIMEOUT,
) -> ServerReport:
    """Report on the server at the URI, reached directly; name a proxy that would keep clients from it.

    Its certificate is trusted as MLflow trusts it. `identity` is that of the stack which answered there when
    the project was linked: another one gets no login. `remedy` is what helps where it does not answer.
    """
    remedy = remedy or "start it (`provision up`), or link to another address (`provision link`)"
    proxy, fix = swallowing_proxy(uri, ca_file) or ("", "")
    login = {"username": username, "password": password}
    rest = StackRest(
        uri, identity=identity, hint=remedy, timeout=timeout, trusted=clients_ca_file(ca_file), **login
    )
    started = time.monotonic()
    try:
        rest.get_bytes("/health")
    except RestError as error:
        return ServerReport(uri, False, False, str(error), error.hint or remedy, proxy)
    took = (time.monotonic() - started) * 1000
    try:
        count, bypassing = _experiments(rest)
        problem, remedy = experiment_problem(rest, experiment)
        release = _release(rest)
    except RestError as error:
        return _without_api(uri, username, error, proxy)
    seen = f"/health answered in {took:.0f} ms, {counted(count, 'experiment')}"
    hint = _BYPASSED if bypassing else ""
    return ServerReport(
        uri, True, True, seen, fix or remedy or hint, proxy, count, tuple(bypassing), release, problem
    )


def _experiments(rest: Rest) -> tuple[int, list[ExperimentReport]]:
    """Return how many experiments there are, and those whose location is not the server."""
    count, bypassing, token = 0, [], ""
    while True:
        payload = {"max_results": _PAGE, **({"page_token": token} if token else {})}
        page = rest.call("POST", f"{API}/experiments/search", payload)
        for found in page.get("experiments", []):
            count += 1
            location = str(found.get("artifact_location", ""))
            if not location.startswith("mlflow-artifacts:"):
                bypassing.append(ExperimentReport(str(found["experiment_id"]), str(found["name"]), location))
        token = str(page.get("next_page_token") or "")
        if not token:
            return count, bypassing


def _release(rest: Rest) -> str:
    """Return the server's release; "" where it does not say."""
    try:
        said = rest.get_bytes("/version").decode(errors="replace").strip()
    except RestError:
        return ""
    return said if re.fullmatch(r"\d[\w.]{0,30}", said) else ""


def _without_api(uri: str, username: str, error: RestError, proxy: str) -> ServerReport:
    """Return the report of a server that is there, and whose API refuses the call."""
    user = shlex.quote(username) if username else "NAME"
    hint = {
        401: f"link with a login that it takes: `provision link --uri {shlex.quote(uri)} --user {user}`",
        403: "the server does not know this address as its own, or the login may not see experiments",
        404: "something else listens there; look at the port",
    }.get(error.status, "look at the server's log: `provision logs mlflow`")
    seen = f"/health answers, the API does not: {error}"
    return ServerReport(uri, True, False, seen, hint, proxy, refuses_login=error.status == 401)
