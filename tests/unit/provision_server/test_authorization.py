"""One reading of a login, before both of MLflow's applications.

What they are handed is what was judged, in one form, or nothing.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision_server.auth.authorization import AUTHORIZATION, GATEWAY_LOGIN, Login, Malformed, login_of
from provision_server.auth.login_guard import LoginGuard, Verdict
from provision_server.messages import USER

REST, CHAT, OPEN = "/api/2.0/mlflow/experiments/search", "/gateway/mlflow/v1/chat/completions", "/health"
Lines = list[tuple[str, str]]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ANA = f"Basic {encoded('ana:a password of ana')}"
BOB = f"Basic {encoded('bob:a password of bob')}"
KEY = "Bearer a key of a provider"


def read(path: str, lines: Lines, *, gateway: bool = True) -> Login | None:
    return login_of(path, lambda name: [value for known, value in lines if known == name], gateway=gateway)


@pytest.mark.parametrize(
    ("text", "login"),
    [
        (ANA, ("ana", "a password of ana")),
        (ANA.replace("Basic", "basic"), ("ana", "a password of ana")),
        (ANA.replace(" ", "  "), ("ana", "a password of ana")),
        (f"Basic {encoded('ana:')}", ("ana", "")),
        (f"Basic {encoded('ana:a:b')}", ("ana", "a:b")),
        (f"Basic {encoded('anä:ü')}", ("anä", "ü")),
    ],
)
def test_a_login_is_read(text: str, login: tuple[str, str]) -> None:
    found = read(REST, [(AUTHORIZATION, text)])
    assert found is not None
    assert (found.user, found.password) == login
    # In the one form in which it is handed on it is the same login.
    assert read(REST, [(AUTHORIZATION, found.value)]) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Basic",
        "Basic ",
        KEY,
        f"Basic {encoded('no colon')}",
        f"Basic {encoded(chr(0) + ':x')}",
        ANA + "*",
        ANA.replace("Basic ", "Basic !"),
        ANA[:12] + "\n" + ANA[12:],
        ANA[:12] + " " + ANA[12:],
        ANA + " x",
        f"{ANA},{KEY}",
        f"{ANA}, {BOB}",
        f"{KEY},{ANA}",
        ANA.replace(" ", "\t"),
        f" {ANA}",
        ANA.rstrip("=") + "A",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Basic " + base64.urlsafe_b64encode(b"~~~~:??>>").decode().replace("/", "_"),
    ],
)
def test_what_is_not_exactly_a_login_is_refused_on_every_route(text: str) -> None:
    for path in (REST, CHAT, OPEN):
        for gateway in (True, False):
            with pytest.raises(Malformed):
                read(path, [(AUTHORIZATION, text)], gateway=gateway)
    if text:
        with pytest.raises(Malformed):
            read(CHAT, [(GATEWAY_LOGIN, text)])


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        (REST, [(AUTHORIZATION, ANA), (AUTHORIZATION, ANA)]),
        (REST, [(AUTHORIZATION, ANA), (AUTHORIZATION, KEY)]),
        (CHAT, [(AUTHORIZATION, ANA), (AUTHORIZATION, KEY)]),
        (CHAT, [(AUTHORIZATION, KEY), (AUTHORIZATION, ANA)]),
        (CHAT, [(GATEWAY_LOGIN, ANA), (GATEWAY_LOGIN, BOB)]),
        (CHAT, [(GATEWAY_LOGIN, ""), (GATEWAY_LOGIN, BOB)]),
        (CHAT, [(GATEWAY_LOGIN, ANA), (AUTHORIZATION, KEY), (AUTHORIZATION, BOB)]),
        (CHAT, [(GATEWAY_LOGIN, KEY), (AUTHORIZATION, ANA)]),
    ],
)
def test_several_are_not_one(path: str, lines: Lines) -> None:
    with pytest.raises(Malformed):
        read(path, lines)


def test_the_gateways_own_header_counts_there_and_nowhere_else() -> None:
    both = [(GATEWAY_LOGIN, ANA), (AUTHORIZATION, BOB)]
    assert read(CHAT, both) == Login("ana", "a password of ana", GATEWAY_LOGIN)
    assert read(REST, both) == Login("bob", "a password of bob")
    # Flask's application knows no such header.
    assert read(CHAT, both, gateway=False) == Login("bob", "a password of bob")
    assert read(CHAT, [(GATEWAY_LOGIN, ""), (AUTHORIZATION, BOB)]) == Login("bob", "a password of bob")
    assert read(REST, [(GATEWAY_LOGIN, ANA)]) is None
    assert read(REST, []) is None


class OnlyAna(LoginGuard):
    """Lets ana in, and nobody else."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked: list[tuple[str, str]] = []

    def remembers(self, user: str, password: str) -> bool:
        return False

    async def guard(self, address: str, user: str, password: str) -> tuple[Verdict, float]:
        self.asked.append((user, password))
        return (Verdict.right if user == "ana" else Verdict.wrong), 1.0


@pytest.fixture(scope="module", autouse=True)
def _mlflow() -> Iterable[None]:
    """MLflow's own list of open routes, without the seconds that importing it takes."""
    with pytest.MonkeyPatch.context() as patch:
        auth = ModuleType("mlflow.server.auth")
        auth.is_unprotected_route = lambda path: path == OPEN  # type: ignore[attr-defined]
        for name, module in {
            "mlflow": ModuleType("mlflow"),
            "mlflow.server": ModuleType("mlflow.server"),
            "mlflow.server.auth": auth,
        }.items():
            patch.setitem(sys.modules, name, module)
        yield


def ask(path: str, lines: Lines, *, gateway: bool) -> tuple[int, Lines, OnlyAna]:
    """The status, the login headers that the application behind was handed, and who was judged."""
    from provision_server.auth import middleware

    handed: Lines = []
    statuses: list[int] = []
    guard = OnlyAna()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope[USER] == (guard.asked[-1][0] if guard.asked else "")
        names = {AUTHORIZATION.lower().encode(): AUTHORIZATION, GATEWAY_LOGIN.lower().encode(): GATEWAY_LOGIN}
        handed.extend(
            (names[name], value.decode("latin-1")) for name, value in scope["headers"] if name in names
        )
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(name.lower().encode(), value.encode("utf-8", "replace")) for name, value in lines]
    scope = {"type": "http", "path": path, "headers": headers}
    asyncio.run(middleware.refuse_strangers(application, guard, gateway=gateway)(scope, None, send))
    return statuses[0], handed, guard


FORMS = st.one_of(
    st.sampled_from(
        [
            ANA,
            BOB,
            KEY,
            "",
            "Basic",
            f"{ANA}*",
            f" {ANA}",
            f"{ANA},{BOB}",
            ANA.lower(),
            ANA.replace("Basic", "bAsIc"),
            ANA[:15],
        ]
    ),
    st.builds(lambda text: f"Basic {encoded(text)}", st.text(max_size=12)),
    st.builds(
        lambda scheme, rest: f"{scheme} {rest}",
        st.sampled_from(["Basic", "Bearer", "basic", "Digest"]),
        st.text(max_size=24),
    ),
    st.text(max_size=24),
)
REQUESTS = st.lists(st.tuples(st.sampled_from([AUTHORIZATION, GATEWAY_LOGIN]), FORMS), max_size=4)


@pytest.mark.parametrize("gateway", [False, True])
@given(path=st.sampled_from([REST, CHAT, OPEN]), lines=REQUESTS)
def test_what_mlflow_could_hash_was_judged_and_let_in(gateway: bool, path: str, lines: Lines) -> None:
    """Whatever the headers: a login reaches MLflow alone, in the one form, after the judge said yes to it."""
    status, handed, guard = ask(path, lines, gateway=gateway)
    if status != 200:
        assert handed == []
        return
    assert guard.asked in ([], [("ana", "a password of ana")])
    assert (AUTHORIZATION, ANA) in handed or (GATEWAY_LOGIN, ANA) in handed or not guard.asked
    names = [name for name, _ in handed]
    assert len(names) == len(set(names))
    for name, value in handed:
        # A provider's key may stand in Authorization, which MLflow does not look at beside the gateway's own
        # header.
        assert value == ANA or (name == AUTHORIZATION and (GATEWAY_LOGIN, ANA) in handed and gateway)


@pytest.mark.parametrize("gateway", [False, True])
def test_the_guesses_that_went_around_the_guard_are_answered_by_it(gateway: bool) -> None:
    assert ask(CHAT, [(AUTHORIZATION, BOB), (AUTHORIZATION, KEY)], gateway=gateway)[:2] == (401, [])
    assert ask(CHAT, [(AUTHORIZATION, f"{BOB[:12]}*{BOB[12:]}")], gateway=gateway)[:2] == (401, [])
    status, handed, guard = ask(CHAT, [(AUTHORIZATION, BOB)], gateway=gateway)
    assert (status, handed, guard.asked) == (401, [], [("bob", "a password of bob")])
    assert ask(OPEN, [(AUTHORIZATION, BOB)], gateway=gateway)[:2] == (200, [])
