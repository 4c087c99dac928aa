"""How many passwords MLflow hashes while the guard lets nobody in.

Runs under a server's own interpreter, after `every_route.py`. Every route of both applications is called with
several forms of login headers; the one argument is the folder of the server's code.
"""

import asyncio
import base64
import json
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

sys.path.insert(0, sys.argv[1])

from mlflow.server import auth
from mlflow.server.auth import sqlalchemy_store
from werkzeug.security import check_password_hash

from provision_server.auth.login_guard import LoginGuard, Verdict
from provision_server.messages import Message

if TYPE_CHECKING:
    from tests.server.every_route import applications, pairs

Application = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]
Lines = list[tuple[str, str]]
AUTHORIZATION, GATEWAY_LOGIN = "Authorization", "X-MLflow-Authorization"
LOGIN = "Basic " + base64.b64encode(b"admin:a guess").decode()
KEY = "Bearer a key of a provider"
ODD = [
    LOGIN + "*",
    LOGIN[:9] + "!" + LOGIN[9:],
    LOGIN.replace(" ", "\t"),
    LOGIN + "\t",
    "\x0b" + LOGIN,
    LOGIN.lower().replace("basic", "Basic"),
]
ODD += [LOGIN.rstrip("=") + "=" * padding for padding in range(4)] + [
    LOGIN[:9] + "\n" + LOGIN[9:],
    f"{LOGIN} x",
    f"{LOGIN},{KEY}",
]
FORMS = [
    [],
    [(AUTHORIZATION, LOGIN)],
    [(GATEWAY_LOGIN, LOGIN)],
    [(GATEWAY_LOGIN, ""), (AUTHORIZATION, LOGIN)],
]
FORMS += [[(name, value)] for name in (AUTHORIZATION, GATEWAY_LOGIN) for value in ODD]
FORMS += [
    [(AUTHORIZATION, one), (AUTHORIZATION, other)]
    for one, other in [(LOGIN, KEY), (KEY, LOGIN), (LOGIN, LOGIN), (LOGIN, "")]
]
FORMS += [
    [(GATEWAY_LOGIN, one), (AUTHORIZATION, other)]
    for one, other in [(KEY, LOGIN), (LOGIN, KEY), (LOGIN, LOGIN), (ODD[0], LOGIN)]
]
FORMS += [
    [(GATEWAY_LOGIN, LOGIN), (AUTHORIZATION, LOGIN), (AUTHORIZATION, KEY)],
    [(GATEWAY_LOGIN, LOGIN), (GATEWAY_LOGIN, KEY)],
]

hashed: list[str] = []


def counted(known: str, password: str) -> bool:
    hashed.append(known)
    return check_password_hash(known, password)


patch.object(sqlalchemy_store, "check_password_hash", counted).start()


class NobodyGetsIn(LoginGuard):
    """Says no."""

    def remembers(self, user: str, password: str) -> bool:
        return False

    async def guard(self, address: str, user: str, password: str) -> tuple[Verdict, float]:
        return Verdict.wrong, 1.0


def ask(application: Application, method: str, path: str, lines: Lines) -> int:
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [
        (b"host", b"localhost:5000"),
        *((name.lower().encode(), value.encode()) for name, value in lines),
    ]
    scope: Message = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
    }
    scope |= {"raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers}
    scope |= {"client": ("127.0.0.1", 1), "server": ("localhost", 5000)}
    asyncio.run(application(scope, receive, send))
    return statuses[0] if statuses else 0


def count() -> None:
    from provision_server.web.application import guarded
    from provision_server.web.threads import Threaded

    flask, asgi = applications()
    both = guarded(flask, asgi, 1, NobodyGetsIn(1))
    auth.store.create_user("admin", "the password that nobody guesses", is_admin=True)
    routes = pairs(flask, asgi)
    # Unguarded, MLflow hashes: a count of none would mean nothing.
    search = next(path for method, path in routes if path.endswith("/experiments/search"))
    chat = next((path for method, path in routes if path.startswith("/gateway/") and method == "POST"))
    assert ask(Threaded(flask, 1), "POST", search, FORMS[1]) == 401
    assert ask(asgi, "POST", chat, [(AUTHORIZATION, LOGIN), (AUTHORIZATION, KEY)]) == 401
    control = len(hashed)
    hashed.clear()
    statuses: Counter[int] = Counter()
    for number, (method, path) in enumerate(routes):
        # The usual ones each time, the others in turns.
        for lines in FORMS[:4] + FORMS[4 + number % 6 :: 6]:
            for application in both:
                statuses[ask(application, method, path, lines)] += 1
    json.dump(
        {
            "control": control,
            "routes": len(routes),
            "forms": len(FORMS),
            "hashed": len(hashed),
            "statuses": statuses,
        },
        sys.stdout,
    )


count()
