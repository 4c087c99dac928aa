"""The errors a user may see, each with its exit code; nothing here prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

UNCHANGED = "nothing was changed"
# The exit code of what the user interrupted.
INTERRUPTED = 130


@dataclass
class ProvisionError(Exception):
    """What failed, where, what was seen, how things were left, and one next step."""

    what: str
    where: str = ""
    why: str = ""
    hint: str = ""
    left_as: str = UNCHANGED

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return self.what

    def all(self) -> list[ProvisionError]:
        """Return the errors to show: this one, or those that it gathers."""
        return [self]


@dataclass
class SettingsError(ProvisionError):
    """The settings are faulty; `faults` has them all, each with its line."""

    faults: list[ProvisionError] = field(default_factory=list)

    exit_code: ClassVar[int] = 3

    def all(self) -> list[ProvisionError]:
        """Return every fault of the file, or this error where none is listed."""
        return self.faults or [self]


@dataclass
class PreflightError(ProvisionError):
    """Something the work needs is missing; found before anything was changed. `faults` has several."""

    faults: list[ProvisionError] = field(default_factory=list)

    exit_code: ClassVar[int] = 4

    def all(self) -> list[ProvisionError]:
        """Return everything that is missing, or this error where nothing is listed."""
        return self.faults or [self]


@dataclass
class PortTaken(PreflightError):
    """Another program has the front door's port."""


@dataclass
class CommandFailed(ProvisionError):
    """A program was missing, failed, was killed or took too long."""

    argv: tuple[str, ...] = ()
    code: int | None = None
    output: str = ""
    log: str = ""

    exit_code: ClassVar[int] = 5


class Unhealthy(ProvisionError):
    """The stack is down, ill, or did not get healthy within its deadline."""

    exit_code: ClassVar[int] = 6


@dataclass
class NotTakenOver(Unhealthy):
    """A new version of a service did not get ready, and was ended; the one before serves. `log` has what it wrote."""

    service: str = ""
    log: str = ""


class WouldLoseData(ProvisionError):
    """Going on could cut the user off from data."""

    exit_code: ClassVar[int] = 7


class Locked(ProvisionError):
    """Another command works on the same stack."""

    exit_code: ClassVar[int] = 8


class LinkRefused(ProvisionError):
    """A Kedro project's file cannot be changed with certainty; it is untouched."""

    exit_code: ClassVar[int] = 9


class Declined(ProvisionError):
    """The user said no."""

    exit_code: ClassVar[int] = 10


class Drift(ProvisionError):
    """Rendered files differ from what the settings give."""

    exit_code: ClassVar[int] = 11
