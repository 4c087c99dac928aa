"""Strangers at the proxy: each route of the pinned MLflow refuses, no trick is answered or costs a worker."""

from __future__ import annotations

import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import islice, repeat
from pathlib import Path

import pytest

from tests.server.strangers import (
    ARTIFACTS,
    FAMILIES,
    NAME,
    OPEN,
    REFUSED,
    SEARCH,
    Door,
    call_all,
    nobodies,
    opened,
    refuse_internals,
    slowest,
)
from tests.support.installed import Program
from tests.support.ports import free_port
from tests.support.tls_client import basic


@pytest.fixture(scope="module", params=["docker", "embedded"])
def door(request: pytest.FixtureRequest, installed: Path, stacks: Path) -> Iterator[Door]:
    if request.param == "docker":
        request.getfixturevalue("docker")
    program = Program(installed, stacks / f"strangers-{request.param}" / "stack", request.param)
    port = free_port()
    # With jobs and the gateway more routes have something behind them.
    genai = str(request.param == "docker").lower()
    server = (
        f"server:\n  auth: basic\n  tls: internal\n  genai: {genai}\n  public_url: https://{NAME}:{port}\n"
    )
    with program.running(f"artifact_store:\n  kind: local\n{server}"):
        yield Door(program, port)


@pytest.fixture(autouse=True)
def _no_worker_is_lost(door: Door) -> Iterator[None]:
    before = door.workers()
    assert len(before) >= 3
    yield
    assert door.workers() == before
    assert door.admin("POST", SEARCH, {"max_results": 1}).status == 200


@pytest.fixture(scope="module")
def routes(door: Door) -> list[tuple[str, str]]:
    return door.routes()


@pytest.mark.only("embedded")
def test_mlflow_hashes_no_password_that_the_guard_has_not_let_through(door: Door) -> None:
    """Whatever route and headers; each hash costs a sixth of a second, for half of them in the event loop."""
    seen = door.run("count_hashes.py", str(door.program.stack / "deploy"))
    print(seen)
    assert seen["control"] == 2
    assert seen["routes"] >= 500
    assert seen["hashed"] == 0
    assert seen["statuses"]["401"] > 5000


def test_every_route_refuses_a_stranger_but_the_few_that_are_listed(
    door: Door, routes: list[tuple[str, str]]
) -> None:
    assert len(routes) >= 500
    answers = call_all(repeat(door.client()), routes)
    print(
        f"{door.program.runtime}: {len(routes)} pairs, "
        f"{dict(Counter(answer.status for answer in answers.values()))}"
    )
    assert {pair for pair, answer in answers.items() if answer.status not in REFUSED} == set(OPEN)
    for pair, answer in answers.items():
        refuse_internals(answer, pair)


def test_every_route_refuses_wrong_credentials(door: Door, routes: list[tuple[str, str]]) -> None:
    answers = call_all(nobodies(door), routes)
    # Few logins that were never right are judged at a time; the others are told to come again.
    assert {pair for pair, answer in answers.items() if answer.status not in {*REFUSED, 429}} == set(OPEN)


@pytest.mark.parametrize("path", FAMILIES)
def test_each_family_of_routes_refuses_a_wrong_password(door: Door, path: tuple[str, str]) -> None:
    for password in ("", "wrong", door.program.secret("mlflow_admin_password") + "x"):
        assert door.client("admin", password)(*path, None if path[0] == "GET" else {}).status in {
            *REFUSED,
            429,
        }


UNREADABLE = [
    "Bearer token",
    "Negotiate abc",
    "Basic",
    "Basic !!!",
    "Basic AAAA",
    f"Basic {'A' * 8000}",
    "Basic //79",
    "Basic YWRtaW4=",
]
UNREADABLE += [basic("admin\0", "x"), basic("admin", "x\0"), basic("ad\nmin", "x"), basic("", ""), "x" * 5000]


@pytest.mark.parametrize("login", UNREADABLE, ids=lambda text: repr(text[:20]))
def test_a_login_that_is_none_is_refused_and_no_error_of_the_server(door: Door, login: str) -> None:
    for method, path in FAMILIES:
        answer = door.client()(method, path, None if method == "GET" else {}, Authorization=login)
        assert answer.status in REFUSED, (method, path, answer.status)
        refuse_internals(answer, path)


DETOURS = [
    f"/static-files/..{SEARCH}?max_results=5",
    f"/static-files/%2e%2e{SEARCH}?max_results=5",
    f"/static-files/..%2f{SEARCH[1:]}?max_results=5",
    f"/health/..{SEARCH}?max_results=5",
    f"/favicon.ico/..{SEARCH}?max_results=5",
    f"/{SEARCH}?max_results=5",
    f"{SEARCH}/?max_results=5",
    f"{SEARCH.replace('/api', '/API')}?max_results=5",
    f"/api/3.0/mlflow/server-info/../../../2.0{SEARCH[8:]}?max_results=5",
    f"{ARTIFACTS}/x/api/3.0/mlflow/server-info",
    "/health;/api",
    "/static/../graphql",
    "/static-files/../../../../../etc/passwd",
    "/static-files/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/static-files/%2fetc%2fpasswd",
    "/static-files/%00",
    "/docs",
    "/openapi.json",
    "/redoc",
    "/metrics",
    "/.env",
    "/%00",
    "/@/etc/passwd",
    "/config/",
    "/pki/ca/local",
]


@pytest.mark.parametrize("path", DETOURS)
def test_no_detour_leads_around_the_login(door: Door, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECTED"):
        answer = door.client()(method, path)
        assert answer.status >= 400 or answer.status == 308, (method, answer.status, answer.body[:200])
        assert b"experiments" not in answer.body
        refuse_internals(answer, (method, path))


TRICKS = [
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/%252e%252e%252f%252e%252e%252fetc%252fpasswd",
    "//etc/passwd",
    "/%2fetc%2fpasswd",
    "/file:///etc/passwd",
    "/x%00/../../../../etc/passwd",
    "/a%00b",
    "?path=../../../../etc",
    "?path=/etc",
    "?path=%2e%2e%2f%2e%2e%2f",
    "?path=file:///etc",
    "?path=a%00b",
]


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
def test_no_path_leads_out_of_the_artifact_store_even_with_a_login(
    door: Door, prefix: str, trick: str
) -> None:
    path = ARTIFACTS.replace("/api", prefix, 1) + trick
    for method in ("GET", "PUT", "DELETE"):
        assert door.client()(method, path, b"x" if method == "PUT" else None).status >= 400
        answer = door.admin(method, path, b"x" if method == "PUT" else None)
        assert answer.status in {308, 400, 403, 404, 405}, (method, answer.status, answer.body[:200])
        refuse_internals(answer, (method, path))


@pytest.mark.parametrize(
    "path",
    [
        "/get-artifact?path=../../etc/passwd&run_uuid=x",
        "/get-artifact?path=a%00&run_uuid=%00",
        "/model-versions/get-artifact?path=../x&name=m&version=1",
        "/api/2.0/mlflow/experiments/get-by-name?experiment_name=%00",
        "/ajax-api/2.0/mlflow/get-trace-artifact?request_id=../../x",
    ],
)
def test_names_that_are_none_are_an_error_of_the_sender(door: Door, path: str) -> None:
    answer = door.admin("GET", path)
    assert 400 <= answer.status < 500, (answer.status, answer.body[:300])
    refuse_internals(answer, path)


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "a\\u0000b"}',
        b"\x00\xff",
        b"[]",
        b"null",
        b'{"name":' + b"[" * 20000,
        b'{"name": {"a": 1}}',
        b"",
    ],
)
def test_bodies_that_are_none_show_nothing_of_the_inside(door: Door, body: bytes) -> None:
    answer = door.admin("POST", "/api/2.0/mlflow/experiments/create", body, Content_Type="application/json")
    assert answer.status >= 400
    refuse_internals(answer, body[:40])


def test_another_host_or_origin_is_refused(door: Door) -> None:
    admin = door.admin
    for host in ("evil.example.com", f"{NAME}.evil.example.com", "localhost", "127.0.0.1", "169.254.169.254"):
        assert admin("POST", SEARCH, {"max_results": 1}, Host=host).status in {403, 421}, host
    for origin in ("https://evil.example.com", f"https://{NAME}.evil.example.com", f"http://{NAME}", "null"):
        answer = admin("POST", SEARCH, {"max_results": 1}, Origin=origin)
        assert answer.status == 403, origin
        assert "access-control-allow-origin" not in answer.headers


def test_what_a_stranger_claims_to_be_is_not_believed(door: Door) -> None:
    claims = (
        "X-Provision-User",
        "X-Forwarded-User",
        "Remote-User",
        "X-Remote-User",
        "X-MLflow-Authorization",
        "X-Original-URL",
        "X-Rewrite-URL",
    )
    for claim in claims:
        assert door.client()("POST", SEARCH, {"max_results": 1}, **{claim: "admin"}).status == 401, claim


def test_a_stranger_takes_no_turn_among_those_who_ask_for_a_large_page(door: Door) -> None:
    body = {"experiment_ids": ["0"], "max_results": 10_001}
    path = "/api/2.0/mlflow/runs/search"
    assert (door.client()("POST", path, body).status, door.admin("POST", path, body).status) == (401, 400)


def test_a_long_query_of_mlflows_page_is_answered(door: Door) -> None:
    query = "&".join(f"run_id={number:032x}" for number in range(200))
    answer = door.admin("GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?metric_key=loss&{query}")
    assert answer.status != 414
    assert b"Request Line" not in answer.body


@pytest.mark.parametrize("size", [2000, 200_000, 5_000_000])
def test_a_body_that_nobody_wants_is_still_answered(door: Door, size: int) -> None:
    pairs = [("PUT", f"{ARTIFACTS}/x"), ("POST", "/v1/traces")]
    # Of a larger body than the proxy keeps, Flask's workers wait for nothing: the answer may get lost.
    pairs += [("POST", SEARCH), ("POST", "/graphql")] if size < 256_000 else []
    for method, path in pairs:
        for headers in ({}, {"Authorization": "Bearer token"}):
            statuses = {
                door.client()(method, path, b" " * size, Content_Type="application/json", **headers).status
                for _ in range(3)
            }
            assert statuses == {401}, (method, path, headers)
        wrong = {
            client(method, path, b" " * size, Content_Type="application/json").status
            for client in islice(nobodies(door), 3)
        }
        assert wrong == {401}, (method, path)


@pytest.mark.parametrize("size", [40_000, 2_000_000])
def test_oversized_headers_and_addresses_are_refused(door: Door, size: int) -> None:
    for arguments, headers in (
        (("GET", "/health"), {"X_Big": "a" * size}),
        (("GET", "/health?" + "a" * size), {}),
    ):
        try:
            answer = door.client()(*arguments, **headers)
        except OSError:
            # Ended before all of it was taken.
            continue
        assert answer.status in {400, 414, 431}


def test_a_hundred_clients_that_never_end_their_headers_stop_nobody(door: Door) -> None:
    with ExitStack() as stack:
        connections = opened(
            door, stack, 100, f"GET {SEARCH} HTTP/1.1\r\nHost: {NAME}:{door.port}\r\nX-Slow: ".encode()
        )
        started = time.monotonic()
        worst = slowest(door)
        assert worst < 5
        connections[0].settimeout(40)
        with suppress(ConnectionError, ssl.SSLError):
            connections[0].recv(1)
        waited = time.monotonic() - started
    print(
        f"{door.program.runtime}: slowest call {worst:.2f} s, "
        f"a slow client was sent away after {waited:.0f} s"
    )
    assert waited < 30


def test_clients_with_a_login_that_never_end_their_bodies_stop_nobody(door: Door) -> None:
    login = basic("admin", door.program.secret("mlflow_admin_password"))
    head = (
        f"POST {SEARCH} HTTP/1.1\r\nHost: {NAME}:{door.port}\r\nAuthorization: {login}\r\n"
        "Content-Type: application/json\r\n"
    )
    with ExitStack() as stack:
        opened(door, stack, 60, f'{head}Content-Length: 5000\r\n\r\n{{"max'.encode())
        time.sleep(1)
        worst = slowest(door)
    print(f"{door.program.runtime}: slowest call {worst:.2f} s beside 60 bodies that do not end")
    assert worst < 5
