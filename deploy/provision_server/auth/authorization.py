"""The login of a request: read once, strictly, before MLflow's applications get it in one form or not at all.

Each of MLflow's applications reads the headers in a way of its own: of two it takes the first, or both as one
text; where base64 has foreign characters, it skips them. What they hash must be what was judged: so it is
written anew for them; stdlib only.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass

AUTHORIZATION = "Authorization"
# There a client's own key for a provider may stand in Authorization, and its login in the other header.
GATEWAY, GATEWAY_LOGIN = "/gateway/", "X-MLflow-Authorization"
_BASIC = re.compile(r"basic +([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)

Values = Callable[[str], "list[str]"]
"""The values of each header of that name, in the order of the request."""


class Malformed(Exception):
    """What stands where a login does is not exactly one well-formed login."""


@dataclass(frozen=True)
class Login:
    """A user and a password, and the header that they came in."""

    user: str
    password: str
    header: str = AUTHORIZATION

    @property
    def value(self) -> str:
        """Return the header's value in the one form in which it is handed on."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


def login_of(path: str, values: Values, *, gateway: bool) -> Login | None:
    """Return the request's login, None where it has none; raise Malformed for what is no login.

    `gateway` is for the application that has the gateway's routes.
    """
    apart = gateway and path.startswith(GATEWAY) and any(values(GATEWAY_LOGIN))
    keys = values(AUTHORIZATION)
    if apart:
        if len(keys) > 1:
            raise Malformed
        return _only(values(GATEWAY_LOGIN), GATEWAY_LOGIN)
    return _only(keys, AUTHORIZATION) if keys else None


def handed_on(login: Login | None) -> dict[str, str | None]:
    """Return headers with the values that MLflow is to find; None is for one that is removed."""
    if login is None:
        return {AUTHORIZATION: None, GATEWAY_LOGIN: None}
    if login.header == GATEWAY_LOGIN:
        # In Authorization is a provider's key, which is none of ours.
        return {GATEWAY_LOGIN: login.value}
    return {AUTHORIZATION: login.value, GATEWAY_LOGIN: None}


def _only(values: list[str], header: str) -> Login:
    """Return the one login.

    Raise Malformed for several, another scheme, invalid base64 or UTF-8, or text without colon or with NUL.
    """
    found = _BASIC.fullmatch(values[0]) if len(values) == 1 else None
    if found is None:
        raise Malformed
    try:
        text = base64.b64decode(found[1], validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Malformed from None
    user, colon, password = text.partition(":")
    if not colon or "\0" in text:
        raise Malformed
    return Login(user, password, header)
