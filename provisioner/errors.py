"""The errors a user may see, each with its exit code and a code that stays; nothing here prints."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, replace
from typing import ClassVar, TypeVar

UNCHANGED = "nothing was changed"
# The exit code of what the user interrupted.
INTERRUPTED = 130

Error = TypeVar("Error", bound="ProvisionError")


@dataclass(eq=False)
class ProvisionError(Exception):
    """What failed, where, what was seen, how things were left, and one next step.

    Its fields are set once: whoever knows more raises `with_` that, from this one. `code` names the kind of
    error for programs.
    """

    what: str
    where: str = ""
    why: str = ""
    hint: str = ""
    left_as: str = UNCHANGED

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failed"

    def __str__(self) -> str:
        return self.what

    def __setattr__(self, name: str, value: object) -> None:
        # Python itself sets what an exception has beside its fields, so that a frozen dataclass cannot be
        # raised everywhere.
        if name in self.__dataclass_fields__ and name in self.__dict__:
            raise FrozenInstanceError(f"{name} of an error is set once")
        super().__setattr__(name, value)

    def with_(self: Error, **fields: object) -> Error:
        """Return a copy with these fields."""
        return replace(self, **fields)  # type: ignore[arg-type]

    def all(self) -> tuple[ProvisionError, ...]:
        """Return the errors to show: this one, or those that it gathers."""
        return (self,)


@dataclass(eq=False)
class Faults(ProvisionError):
    """Several errors found together; `faults` has them, and is empty for one alone."""

    faults: tuple[ProvisionError, ...] = ()

    def all(self) -> tuple[ProvisionError, ...]:
        """Return every fault, or this error where none is listed."""
        return self.faults or (self,)


@dataclass(eq=False)
class SettingsError(Faults):
    """The settings are faulty; each fault has its line."""

    exit_code: ClassVar[int] = 3
    code: ClassVar[str] = "settings"


class OtherRelease(ProvisionError):
    """The stack was made by another release of this program, which alone can do this to it."""

    exit_code: ClassVar[int] = 3
    code: ClassVar[str] = "other_release"


@dataclass(eq=False)
class PreflightError(Faults):
    """Something the work needs is missing; found before anything was changed."""

    exit_code: ClassVar[int] = 4
    code: ClassVar[str] = "preflight"


@dataclass(eq=False)
class PortTaken(PreflightError):
    """Another program has the proxy's port."""

    code: ClassVar[str] = "port_taken"


@dataclass(eq=False)
class CommandFailed(ProvisionError):
    """A program was missing, failed, was killed or took too long.

    `returncode` is None for one that did not end by itself.
    """

    argv: tuple[str, ...] = ()
    returncode: int | None = None
    output: str = ""
    log: str = ""

    exit_code: ClassVar[int] = 5
    code: ClassVar[str] = "command_failed"


class Unhealthy(ProvisionError):
    """The stack is down, unhealthy, or did not get healthy within its deadline."""

    exit_code: ClassVar[int] = 6
    code: ClassVar[str] = "unhealthy"


@dataclass(eq=False)
class NotTakenOver(Unhealthy):
    """A new version of a service did not get ready, and was ended; the one before serves.

    `log` has what it wrote.
    """

    service: str = ""
    log: str = ""

    code: ClassVar[str] = "not_taken_over"


class WouldLoseData(ProvisionError):
    """Going on could cut the user off from data."""

    exit_code: ClassVar[int] = 7
    code: ClassVar[str] = "data_at_risk"


class Locked(ProvisionError):
    """Another command works on the same stack."""

    exit_code: ClassVar[int] = 8
    code: ClassVar[str] = "locked"


class EditRefused(ProvisionError):
    """A file cannot be changed with certainty; it is untouched."""

    exit_code: ClassVar[int] = 9
    code: ClassVar[str] = "edit_refused"


class LinkRefused(EditRefused):
    """A Kedro project cannot be linked with certainty; its files are untouched."""

    code: ClassVar[str] = "link_refused"


class Declined(ProvisionError):
    """The user said no."""

    exit_code: ClassVar[int] = 10
    code: ClassVar[str] = "declined"


class Drift(ProvisionError):
    """Rendered files differ from what the settings give."""

    exit_code: ClassVar[int] = 11
    code: ClassVar[str] = "drift"


class Interrupted(ProvisionError):
    """The user interrupted the command."""

    exit_code: ClassVar[int] = INTERRUPTED
    code: ClassVar[str] = "interrupted"


class Bug(ProvisionError):
    """The program has a fault of its own."""

    code: ClassVar[str] = "bug"
