"""MLflow's REST API as this program uses it, and a client that sees who answers before it sends a login."""

from __future__ import annotations

import json
from typing import Any

from provisioner.system.http import Rest, RestError

API, API_3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
# Which stack answers, so that nobody takes another server for it; an id that is no secret.
IDENTITY_PATH = "/.well-known/provision"
_HINT = "stop what answers there, or set another server.port in provision.yml; then `provision up`"


class OtherServer(RestError):
    """Another server answers than the one that was meant."""

    def __init__(self, message: str, hint: str, *, permanent: bool) -> None:
        super().__init__(0, message, hint, permanent=permanent)


class StackRest(Rest):
    """A client that asks who answers before its first call: a login goes to its own stack alone."""

    def __init__(
        self,
        uri: str,
        *,
        identity: str,
        hint: str = _HINT,
        username: str = "",
        password: str = "",
        **options: Any,
    ) -> None:
        """Prepare a client of the stack with that `identity`; "" where none is known.

        `hint` says what to do about another server.
        """
        super().__init__(uri, username=username, password=password, **options)
        self._stranger = Rest(uri, **options)
        self._identity = identity
        self._hint = hint

    def _send(self, method: str, path: str, body: bytes | None, content_type: str) -> bytes:
        if self._identity:
            self._refuse_other()
            self._identity = ""
        return super()._send(method, path, body, content_type)

    def _refuse_other(self) -> None:
        """Raise OtherServer when another server answers; as permanent when that is another stack."""
        found = identity_of(self._stranger)
        if found != self._identity:
            who = (
                "another stack answers"
                if found
                else "a server answers that does not say it is the one it should be"
            )
            raise OtherServer(f"{self.uri}: {who}", self._hint, permanent=bool(found))


def identity_of(rest: Rest) -> str:
    """Return the identity of the stack that answers; "" for a server that tells none.

    Raise RestError when nothing answers, or not to this name.
    """
    try:
        content = rest.get_bytes(IDENTITY_PATH)
    except RestError as error:
        if error.status in {0, 421}:
            raise
        return ""
    try:
        return str(json.loads(content)["stack"])
    except (ValueError, KeyError, TypeError):
        return ""
