"""Errors are values: set once, known by a code, and raised from what caused them."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from provisioner.errors import CommandFailed, PreflightError, ProvisionError, SettingsError, Unhealthy

PROGRAM = Path(__file__).parents[2] / "provisioner"


def test_a_field_is_set_once_and_a_copy_has_another() -> None:
    error = CommandFailed("docker failed", argv=("docker", "x"), returncode=1)
    for field in fields(error):
        with pytest.raises(FrozenInstanceError):
            setattr(error, field.name, "another")
    copy = error.with_(hint="look at it")
    assert (copy.hint, copy.argv, copy.returncode, error.hint) == ("look at it", ("docker", "x"), 1, "")
    assert type(copy) is CommandFailed


def test_it_passes_through_what_sets_its_traceback() -> None:
    """As `contextlib` does, and a frozen dataclass does not let it."""

    @contextlib.contextmanager
    def passing() -> Iterator[None]:
        yield

    with pytest.raises(Unhealthy, match="down"), passing():
        raise Unhealthy("down")


def test_errors_found_together_are_shown_one_by_one() -> None:
    faults = (SettingsError("a"), SettingsError("b"))
    assert SettingsError("2 faults", faults=faults).all() == faults
    alone = PreflightError("a")
    assert alone.all() == (alone,)


def test_no_error_hides_its_cause() -> None:
    """Whoever looks for the fault needs it, with PROVISION_DEBUG or in a debugger."""
    hidden = [
        f"{path.name}:{node.lineno}"
        for path in PROGRAM.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and isinstance(node.cause, ast.Constant)
    ]
    assert hidden == []


# Where each takes the next step: what makes an error, by its name.
HINTS_AT = {"failed": 2}


def test_every_error_has_a_next_step() -> None:
    """As docs/how-to/troubleshooting.md promises; those that gather others have one in each."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PROGRAM.rglob("*.py")}
    places = HINTS_AT | dict.fromkeys(names_of_kinds(trees.values()), 3)
    calls = [
        (f"{path.relative_to(PROGRAM)}:{node.lineno}", node, places[name])
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func).rpartition(".")[2]) in places
    ]
    assert len(calls) > 100
    assert [where for where, call, place in calls if not has_hint(call, place)] == []


def has_hint(call: ast.Call, place: int) -> bool:
    """Whether a call has a next step, by name or at its place, or errors that have theirs."""
    if any(word.arg == "faults" for word in call.keywords):
        return True
    given = call.args[place : place + 1] + [word.value for word in call.keywords if word.arg == "hint"]
    return bool(given) and not (isinstance(given[0], ast.Constant) and not given[0].value)


def names_of_kinds(trees: Iterable[ast.Module]) -> set[str]:
    """The names of all classes of errors, wherever they are made."""
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    names, before = {"ProvisionError"}, 0
    while len(names) > before:
        before = len(names)
        names |= {one.name for one in classes if names & {ast.unparse(base) for base in one.bases}}
    return names


def test_every_kind_has_a_code_of_its_own() -> None:
    def below(kind: type[ProvisionError]) -> Iterator[type[ProvisionError]]:
        for derived in kind.__subclasses__():
            yield derived
            yield from below(derived)

    # One that only gathers others is never raised itself.
    codes = [
        kind.code
        for kind in below(ProvisionError)
        if kind.__module__.startswith("provisioner") and kind.__name__ != "Faults"
    ]
    assert len(codes) == len({*codes, ProvisionError.code}) - 1
