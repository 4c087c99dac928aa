"""The shape of the program: which part may use which, one door to processes, and sizes that can be read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "provisioner"
FILES = sorted(
    path for path in PROGRAM.rglob("*.py") if "demo_project" not in path.relative_to(PROGRAM).parts
)

# What each part may import of the others: down only. `__init__` is the version alone.
MAY_USE = {
    "__main__": {"cli"},
    "kedro_plugin": {"cli"},
    "cli": {"__init__", "actions", "output", "errors"},
    "actions": {
        "remote",
        "stack",
        "kedro",
        "runtimes",
        "model",
        "mlflow_api",
        "system",
        "output",
        "errors",
    },
    "remote": {"stack", "runtimes", "model", "yaml_edit", "system", "output", "errors"},
    "stack": {"__init__", "assets", "runtimes", "model", "mlflow_api", "system", "output", "errors"},
    # A project knows no stack, and nothing of what runs one.
    "kedro": {"model", "mlflow_api", "yaml_edit", "system", "output", "errors"},
    "runtimes": {"model", "mlflow_api", "system", "output", "assets", "errors"},
    "model": {"errors"},
    "mlflow_api": {"system"},
    "yaml_edit": {"errors"},
    "system": {"errors"},
    "output": {"errors"},
    "assets": set(),
    "errors": set(),
    "__init__": set(),
}
# Libraries that one part alone may use, by the first part of their name.
ONE_DOOR = {
    "subprocess": {"system/process.py", "system/streams.py"},
    "typer": {"cli"},
    "click": {"kedro_plugin.py"},
    "pydantic": {"model/settings.py", "model/settings_text.py"},
    "urllib.request": {"system/http.py"},
    "fcntl": {"system/locks.py"},
}
LONGEST_FILE, LONGEST_FUNCTION, LONGEST_COMMAND = 400, 40, 15


def name_of(path: Path) -> str:
    return path.relative_to(PROGRAM).as_posix()


def part_of(path: Path) -> str:
    return path.relative_to(PROGRAM).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """The full name of everything imported, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the package"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def parts_used(tree: ast.Module) -> set[str]:
    names = (name.split(".") for name in imported(tree))
    return {(rest or ["__init__"])[0] for package, *rest in names if package == "provisioner"}


def test_there_are_files_to_look_at_and_every_part_has_its_row() -> None:
    assert len(FILES) > 50
    assert {part_of(path) for path in FILES} == set(MAY_USE)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    own = part_of(path)
    assert parts_used(tree_of(path)) - {own} <= MAY_USE[own]


def test_every_allowed_pair_is_used() -> None:
    used: dict[str, set[str]] = {part: set() for part in MAY_USE}
    for path in FILES:
        used[part_of(path)] |= parts_used(tree_of(path)) - {part_of(path)}
    assert used == MAY_USE


def test_no_part_reaches_around_in_a_circle() -> None:
    def below(part: str, above: tuple[str, ...] = ()) -> None:
        assert part not in above, f"{part} uses itself by {' -> '.join(above)}"
        for other in MAY_USE[part]:
            below(other, (*above, part))

    below("__main__")


@pytest.mark.parametrize("library", ONE_DOOR)
def test_a_library_with_one_door_is_used_there_alone(library: str) -> None:
    users = {
        name_of(path)
        for path in FILES
        if any(f"{name}.".startswith(f"{library}.") for name in imported(tree_of(path)))
    }
    assert users
    strangers = {
        user
        for user in users
        if not any(user == door or user.startswith(f"{door}/") for door in ONE_DOOR[library])
    }
    assert not strangers


def test_one_loop_waits() -> None:
    """`system/wait.py` has it; the other sleep is a pause, after which nothing is looked at."""
    sleepers = {
        name_of(path)
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and node.attr == "sleep"
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
    }
    assert sleepers == {"system/wait.py", "stack/checks.py"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_is_printed(path: Path) -> None:
    calls = [node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert not [
        call.lineno
        for call in calls
        if isinstance(call, ast.Name) and call.id in {"print", "input", "breakpoint"}
    ]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_can_be_read_at_once(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    long = {node.name: lines(node) for node in functions(tree_of(path)) if lines(node) > LONGEST_FUNCTION}
    assert not long


def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("path", [path for path in FILES if part_of(path) == "cli"], ids=name_of)
def test_a_command_does_little_itself(path: Path) -> None:
    long = {}
    for node in functions(tree_of(path)):
        # What stands below the signature and the docstring.
        body = [
            part
            for part in node.body
            if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        ]
        if name_of(path).endswith("_commands.py") and body:
            long[node.name] = (node.end_lineno or 0) - body[0].lineno + 1
    assert not {name: count for name, count in long.items() if count > LONGEST_COMMAND}


def test_the_server_does_not_use_the_program() -> None:
    server = PROGRAM.parent / "deploy" / "provision_server"
    for path in server.rglob("*.py"):
        assert "provisioner" not in {name.partition(".")[0] for name in imported(tree_of(path))}, path.name


def test_no_module_is_called_after_nothing_in_particular() -> None:
    assert not {path.stem for path in FILES} & {"utils", "util", "helpers", "common", "misc"}
