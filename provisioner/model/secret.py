"""Secrets: a value that never shows itself, which ones a stack needs, and how new ones are made."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass

LENGTH = 32
_ALPHABET = string.ascii_letters + string.digits


class Secret:
    """A secret value; only `reveal()` shows it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "****"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "****"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(
            self._value.encode(), other._value.encode()
        )

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True)
class SecretSpec:
    """A secret by its file name; `from_env` names the variable that a user's own secret may come from."""

    name: str
    purpose: str
    from_env: str = ""
    services: tuple[str, ...] = ()
    from_file: str = ""
    """The file of the user's that it is a copy of, relative to the stack directory."""

    @property
    def generated(self) -> bool:
        """Return whether we make it; else it is the user's."""
        return not (self.from_env or self.from_file)


def generate() -> Secret:
    """Return a new secret of 32 URL-safe characters.

    They are letters and digits only, so no format needs to quote it.
    """
    return Secret("".join(secrets.choice(_ALPHABET) for _ in range(LENGTH)))
