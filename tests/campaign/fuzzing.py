"""Every route of a running stack with a login, asked by an ordinary user and by strangers.

And what must be so of each answer.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import psutil

from tests.campaign.belongings import belongings
from tests.campaign.http_calls import Call, operations
from tests.campaign.values import Values
from tests.server.deployed import Deployed, Reply
from tests.server.reach import API2, API3, Caller
from tests.server.strangers import OPEN, script
from tests.support.checks import processes_in
from tests.support.tls_client import basic

AT_ONCE = 4
# Calls of each route in one round, so that a round of all takes 20 s.
EACH = 3
LONGEST = 60.0
PASSWORD = "correct horse battery"
# Of MLflow, of Python, of the database, of the machine.
INTERNALS = re.compile(
    r"Traceback|File \"|site-packages|psycopg2|sqlalche|\[SQL|\bSELECT .{1,200}\bFROM|INSERT INTO"
    r"|UPDATE \w+ SET|DELETE FROM|object at 0x"
    r"|\bmlflow\.(?:server|store|entities|utils|protos|tracking)\.|/opt/|/var/|/usr/lib|/tmp/"
    r"|root:x:|LINE \d+:|ERRORS:  |\(Background on",
    re.IGNORECASE | re.DOTALL,
)
# What says that it is a refusal; 429 to whom fails too often, 501 of what is switched off.
REFUSALS = {400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 417, 429, 431, 501}
# What is switched off, and says so.
OFF = 501


@dataclass(frozen=True)
class Tolerated:
    """An answer that is no finding, and why."""

    path: str
    status: int
    words: str
    reason: str

    def is_meant(self, call: Call, reply: Reply) -> bool:
        """Whether it is this answer."""
        text = reply.body.decode(errors="replace")
        return (
            reply.status == self.status
            and bool(re.search(self.path, call.path))
            and bool(re.search(self.words, text))
        )


TOLERATED = (
    Tolerated(
        r"/traces/",
        500,
        "Trace data not stored in tracking store",
        "how MLflow's client learns that it has to read the artifact",
    ),
    Tolerated(r"/workspaces", 503, "workspaces", "MLflow's words for what is switched off"),
    Tolerated(
        "",
        503,
        "Others search|Another search|Too much of yours|a deadlock",
        "others, or this client's own calls, are under way",
    ),
    Tolerated(
        r"%zz|#",
        0,
        "ConnectionResetError",
        "Caddy answers an address that is none before it has read the body, and closes",
    ),
)


@dataclass
class Finding:
    """What should not be, with the first call that it was seen at."""

    what: str
    call: Call
    sent: bytes
    reply: Reply
    times: int = 1

    def __str__(self) -> str:
        return (
            f"{self.what}, {self.times} times, first at: {self.call.where}\n"
            f"  sent     {self.sent[:3000]!r}\n"
            f"  answered {self.reply.status} {self.reply.body[:1500]!r}"
        )


@dataclass
class Fuzz:
    """The stack, who asks, and what was seen."""

    deployed: Deployed
    seed: str
    findings: dict[str, Finding] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    asked: set[tuple[str, str]] = field(default_factory=set)
    longest: tuple[float, str] = (0.0, "")

    def __post_init__(self) -> None:
        front = self.deployed.front
        self.admin = Caller("admin", front, ("admin", self.deployed.program.secret("mlflow_admin_password")))
        self.user = Caller("ana", front, ("ana", PASSWORD))
        for name in ("ana", "ben"):
            self.admin.good("POST", f"{API2}/users/create", {"username": name, "password": PASSWORD})
        described = (Path(__file__).with_name("openapi_script.py")).read_bytes()
        self.document = json.loads(
            self.deployed.python(script("every_route.py").decode() + described.decode())
        )
        self.operations = operations(self.document)
        self.values = Values(self.document["components"]["schemas"])
        self.known: dict[str, str] = {}

    def run(self, end: float) -> dict[str, int]:
        """Ask each route once, and then again until the time is over.

        Return the memory that the processes had in between.
        """
        self.round("1", 1)
        memory = self.memory()
        for number in count(2):
            if time.monotonic() > end:
                break
            self.round(str(number), EACH, end)
        return memory

    def round(self, name: str, each: int, end: float = float("inf")) -> None:
        """Ask each route so many times, in an order of the round's own, until the time is over."""
        for who in ("ana", "ben"):
            # A call may have changed it.
            self.admin.good("PATCH", f"{API2}/users/update-password", {"username": who, "password": PASSWORD})
        self.known = {
            **belongings(self.user, f"own-{name}", "OWN"),
            **belongings(self.admin, f"their-{name}", "THEIR"),
        }
        chosen = list(self.operations)
        Random(f"{self.seed} {name}").shuffle(chosen)
        # What is gone is no more to ask for.
        chosen.sort(key=lambda operation: operation.method == "DELETE" or "delete" in operation.path)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for place, operation in enumerate(chosen):
                if time.monotonic() > end:
                    break
                calls = operation.drawn(self.values, f"seed {self.seed}, round {name}", each)
                asking = [pool.submit(self._asked, call) for call in calls]
                asking.append(
                    pool.submit(self._asked_by_stranger, calls[0], STRANGERS[place % len(STRANGERS)])
                )
                for asked in asking:
                    asked.result()
                self.asked.add((operation.method, operation.path))

    def usual_calls(self) -> list[Reply]:
        """Return the answers to a call of each application, as the user makes them."""
        search, info = f"{API2}/experiments/search", f"{API3}/mcp-servers"
        return [self.user("POST", search, {"max_results": 1}), self.user("GET", info)]

    def memory(self) -> dict[str, int]:
        """Return the resident bytes of each process of the server and of the proxy, by name and number."""
        found = {}
        for process in processes_in(self.deployed.program.stack):
            with contextlib.suppress(psutil.Error):
                if process.name() in {"python", "caddy"}:
                    found[f"{process.name()} {process.pid}"] = process.memory_info().rss
        return found

    def more_memory(self, before: Mapping[str, int]) -> dict[str, int]:
        """Return how many bytes each has more than before."""
        return {name: size - before.get(name, 0) for name, size in self.memory().items()}

    def report(self, before: Mapping[str, int]) -> str:
        """Return what was done, in lines for people."""
        sizes = ", ".join(
            f"{name} {before.get(name, 0) >> 20} -> {size >> 20} MB" for name, size in self.memory().items()
        )
        return (
            f"{sum(self.statuses.values())} calls of {len(self.asked)} routes: "
            f"{dict(sorted(self.statuses.items()))}\n"
            f"longest {self.longest[0]:.1f} s: {self.longest[1]}\n{sizes}\n{len(self.findings)} findings"
        )

    def _asked(self, call: Call) -> None:
        login = ("ben" if "update-password" in call.path else "ana", PASSWORD)
        sent, reply = self._send(call, (("Authorization", basic(*login)),))
        self.statuses[f"user {reply.status}"] += 1
        self._judge(call, sent, reply)

    def _asked_by_stranger(self, call: Call, login: tuple[tuple[str, str], ...]) -> None:
        sent, reply = self._send(call, login)
        self.statuses[f"stranger {reply.status}"] += 1
        self._judge(call, sent, reply)
        if reply.status not in REFUSALS and not (reply.status < 500 and is_open(call)):
            self._found(f"a stranger is answered {reply.status}", call, sent, reply)

    def _send(self, call: Call, more: tuple[tuple[str, str], ...]) -> tuple[bytes, Reply]:
        sent = call.sent(self.deployed.front.address, self.known, *more)
        started = time.monotonic()
        try:
            reply = exchanged(self.deployed.front.address, sent, call.method)
        except (OSError, http.client.HTTPException) as error:
            reply = Reply(0, {}, f"{type(error).__name__}: {error}".encode())
        self.longest = max(self.longest, (time.monotonic() - started, call.where))
        return sent, reply

    def _judge(self, call: Call, sent: bytes, reply: Reply) -> None:
        text = reply.body.decode(errors="replace")
        shown = INTERNALS.search(text) if reply.status >= 400 else None
        if str(self.deployed.program.stack) in text:
            self._found("shows the path of the stack", call, sent, reply)
        elif shown and shown[0].encode() not in sent:
            self._found(f"shows {shown[0][:40]}", call, sent, reply)
        elif reply.status in {0, *range(500, 600)} - {OFF} and not any(
            known.is_meant(call, reply) for known in TOLERATED
        ):
            self._found(f"answered {reply.status or 'nothing'}", call, sent, reply)

    def _found(self, what: str, call: Call, sent: bytes, reply: Reply) -> None:
        route = re.sub(r", call \d+$", "", call.where.partition(", ")[2].partition(", ")[2])
        words = re.sub(
            r"[0-9a-f]{8,}|\d+|'[^']*'|\"[^\"]*\"(?=[^:]|$)", "", reply.body.decode(errors="replace")
        )[:60]
        key = f"{what} {route.replace('/ajax-api/', '/api/')} {words}"
        if key in self.findings:
            self.findings[key].times += 1
        else:
            self.findings[key] = Finding(what, call, sent, reply)


def is_open(call: Call) -> bool:
    """Whether the call is of the few that anybody may make."""
    return any(
        call.path == path or (path.endswith("/x") and call.path.startswith(path[:-1])) for _, path in OPEN
    )


def exchanged(address: str, sent: bytes, method: str) -> Reply:
    """Return the answer to those bytes, on a connection of its own."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=LONGEST) as connection:
        # A server may answer before it has read the whole body.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(sent)
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return Reply(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        )


def _logins() -> tuple[tuple[tuple[str, str], ...], ...]:
    """Return the headers of those who have no login: none at all, wrong ones, and what is no login."""
    values = (
        "Bearer x",
        "Basic",
        "Basic !!!",
        "Basic //79",
        basic("ana\0", "x"),
        basic("ana", "wrong"),
        basic("", ""),
        basic("x" * 3000, "x"),
    )
    return (
        (),
        *((("Authorization", value),) for value in values),
        (("X-MLflow-Authorization", basic("ana", PASSWORD + "x")),),
    )


STRANGERS = _logins()
