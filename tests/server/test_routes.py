"""Every route of MLflow's two applications reaches, through the proxy, a process that implements it."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.server.answers import comparable
from tests.server.deployed import HERE, Deployed, Peer, Reply, asgi_paths
from tests.support.installed import ROOT

Route = tuple[str, str]
# These make and remove a whole demo experiment:
# one after the other, and twice, so that both sides find the same.
IN_TURN = ("/ajax-api/3.0/mlflow/demo/generate", "/ajax-api/3.0/mlflow/demo/delete")
FILES = ("/static-files/", "/build/")


@dataclass(frozen=True)
class Compared:
    """One method and path, answered by all of MLflow in one process, and through the proxy."""

    route: Route
    whole: Reply
    front: Reply


@pytest.fixture(scope="module")
def routes(deployed: Deployed) -> dict[str, list[Route]]:
    """Routes by application, as the server's own environment has them."""
    listed = json.loads(deployed.python(HERE / "routes_script.py"))
    return {name: [(method, path) for method, path in pairs] for name, pairs in listed.items()}


@pytest.fixture(scope="module")
def compared(deployed: Deployed, routes: dict[str, list[Route]]) -> list[Compared]:
    """The answers to every method and path of both applications."""
    wanted = sorted({(method, concrete(path)) for pairs in routes.values() for method, path in pairs})
    whole, front = deployed.asgi, deployed.front
    with ThreadPoolExecutor(4) as threads:
        answers = list(
            threads.map(
                lambda route: ask(route, whole, front), [route for route in wanted if route[1] not in IN_TURN]
            )
        )
    for path in IN_TURN:
        for route in [route for route in wanted if route[1] == path]:
            send(front, route)
            answers.append(ask(route, whole, front))
    return answers


def concrete(path: str) -> str:
    """The path with a value in place of each parameter: a file that is there, or a name that nothing has."""
    if path.startswith(FILES):
        return f"{path.partition('<')[0]}index.html"
    return re.sub(r"[<{][^>}]*[>}]", "no-such-thing", path)


def send(peer: Peer, route: Route, timeout: float = 60) -> Reply:
    method, path = route
    return peer(method, path, {} if method in {"POST", "PUT", "PATCH", "DELETE"} else None, timeout=timeout)


def ask(route: Route, whole: Peer, front: Peer) -> Compared:
    return Compared(route, send(whole, route), send(front, route))


def told(pairs: Iterable[Compared]) -> str:
    return "\n".join(
        f"{pair.route}\n  whole: {comparable(pair.whole)}\n  front: {comparable(pair.front)}"
        for pair in pairs
    )


def test_the_split_is_what_the_installed_mlflow_says(deployed: Deployed) -> None:
    derived = deployed.python(ROOT / "deploy/provision_server/web/routes.py").split()
    assert len(derived) > 10
    assert asgi_paths() == derived


def test_every_route_answers_through_the_proxy_as_mlflow_itself_does(
    deployed: Deployed, compared: list[Compared]
) -> None:
    assert len(compared) >= 900
    other = [pair for pair in compared if comparable(pair.whole) != comparable(pair.front)]
    assert other == [], told(other)
    allowed = [pair for pair in compared if allow(pair.whole) != allow(pair.front)]
    assert allowed == [], told(allowed)
    counts = Counter(pair.front.status for pair in compared)
    print(
        f"\n{deployed.runtime}: {len(compared)} pairs of method and path compared; statuses "
        f"{dict(sorted(counts.items()))}"
    )


def allow(reply: Reply) -> set[str]:
    return set(reply.headers.get("allow", "").replace(" ", "").split(","))


def test_no_route_gets_the_answer_to_a_path_or_method_that_is_unknown(
    deployed: Deployed, compared: list[Compared]
) -> None:
    unknown = {
        send(deployed.asgi, ("GET", "/api/2.0/no-such-route")).body,
        send(deployed.asgi, ("POST", "/version")).body,
    }
    assert len(unknown) == 2
    unanswered = [
        pair
        for pair in compared
        if pair.front.status in {404, 405} and (pair.front.body in unknown or pair.front.status == 405)
    ]
    assert unanswered == [], told(unanswered)


@contextmanager
def stopped(deployed: Deployed, pids: Iterable[int]) -> Iterator[None]:
    """These workers answer nothing; gunicorn replaces them after a minute."""
    for pid in pids:
        deployed.signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            deployed.signal(pid, signal.SIGCONT)


def test_routes_of_one_application_alone_need_no_worker_of_the_other(
    deployed: Deployed, routes: dict[str, list[Route]]
) -> None:
    fastapi = {(method, concrete(path)) for method, path in routes["fastapi"]}
    flask_alone = {(method, concrete(path)) for method, path in routes["flask"]} - fastapi
    flask_alone = {route for route in flask_alone if route[1] not in IN_TURN and not is_below(route[1])}
    assert len(fastapi) >= 80
    assert len(flask_alone) >= 400
    processes = deployed.processes()
    for wanted, others in ((flask_alone, processes.asgi), (fastapi, processes.flask)):
        with stopped(deployed, others), ThreadPoolExecutor(4) as threads:
            # One that waits for a stopped worker raises.
            list(threads.map(lambda route: send(deployed.front, route, timeout=30), sorted(wanted)))
    assert deployed.processes() == processes


def is_below(path: str) -> bool:
    """Whether the path shares a prefix with the FastAPI application, which hands it on to Flask's within."""
    return any(
        path == matcher or (matcher.endswith("*") and path.startswith(matcher[:-1]))
        for matcher in asgi_paths()
    )


def test_a_path_that_nobody_has_is_not_found(deployed: Deployed) -> None:
    for path in ("/api/2.0/mlflow/no-such-call", "/gateway/no/such/call", "/ajax-api/3.0/jobs/a/b/c/d"):
        reply, whole = deployed.front("GET", path), deployed.asgi("GET", path)
        assert (reply.status, comparable(reply)) == (404, comparable(whole)), path
