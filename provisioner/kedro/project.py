"""A Kedro project as its files tell it, without importing any of its code."""

from __future__ import annotations

import ast
import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from provisioner.errors import LinkRefused, ProvisionError
from provisioner.system.files import read_file

SUFFIXES = {".yml", ".yaml", ".json"}
PATTERNS: Mapping[str, tuple[str, ...]] = {
    "mlflow": ("mlflow*", "mlflow*/**", "**/mlflow*"),
    "credentials": ("credentials*", "credentials*/**", "**/credentials*"),
    "globals": ("globals.yml",),
}
_DEFAULT_ENVS: Mapping[str, str] = {"base_env": "base", "default_run_env": "local"}
_READ = ("base_env", "default_run_env", "merge_strategy", "config_patterns")


class NotAProject(LinkRefused):
    """The directory is no Kedro project, nor inside of one."""

    code: ClassVar[str] = "not_a_project"


@dataclass(frozen=True)
class KedroProject:
    """A project and what its settings say; `uncertain` names those that only running its code could tell."""

    path: Path
    package: str
    source: Path
    conf: Path
    base_env: str = "base"
    run_env: str = "local"
    soft_merge: bool = False
    patterns: tuple[tuple[str, tuple[str, ...]], ...] = tuple(PATTERNS.items())
    uncertain: tuple[str, ...] = ()

    @property
    def settings_file(self) -> Path:
        """Return the path of the project's settings.py; it may be absent."""
        return self.source / Path(*self.package.split(".")) / "settings.py"

    def folder(self, env: str) -> Path:
        """Return the directory of an environment; raise LinkRefused for a name that no directory can have."""
        return self.conf / self._checked(env, "--env")

    def shown(self, path: Path) -> str:
        """Return the path as a person in the project would write it."""
        return path.relative_to(self.path).as_posix() if path.is_relative_to(self.path) else str(path)

    def default_env(self, environ: Mapping[str, str] | None = None) -> str:
        """Return the environment of a plain `kedro run`: KEDRO_ENV, else the project's default.

        Raise LinkRefused for a name that no directory can have.
        """
        named = (os.environ if environ is None else environ).get("KEDRO_ENV")
        return self._checked(named, "environment variable KEDRO_ENV") if named else self.run_env

    def _checked(self, env: str, where: str) -> str:
        # What settings.py says is the project's own way, the empty name of no environments included.
        if env in (self.base_env, self.run_env) or _is_name(env):
            return env
        conf = self.shown(self.conf)
        raise LinkRefused(
            f"{env!r} is no name of a Kedro environment",
            where=where,
            why=f"an environment is one folder in {conf}: its name is not empty, and has no /, \\ or "
            "control characters",
            hint=f"name a folder of {conf}: the project has {listed(env_folders(self))}",
        )


def find_project(start: Path) -> KedroProject:
    """Find the Kedro project at the path or above it; raise NotAProject with the directory looked at."""
    first = start.expanduser().absolute()
    if not first.is_dir():
        raise NotAProject(
            f"there is no directory {first}", where=str(first), hint="name the directory of a Kedro project"
        )
    for directory in (first, *first.parents):
        table = _tool_kedro(directory / "pyproject.toml")
        if table is not None:
            return _read_project(directory.resolve(), table)
    raise NotAProject(
        f"{first} is not in a Kedro project",
        where=str(first),
        why="neither it nor a directory above has a pyproject.toml with a [tool.kedro] section",
        hint="name the project's directory, or make one with `kedro new`",
    )


def with_facts(project: KedroProject, facts: Mapping[str, Any]) -> KedroProject:
    """Return the project with what its own code says of its settings."""
    patterns = {
        **PATTERNS,
        **{kind: tuple(globs) for kind, globs in facts["patterns"].items() if kind in PATTERNS},
    }
    return replace(
        project,
        conf=project.path / facts["conf_source"],
        base_env=facts["base_env"],
        run_env=facts["default_run_env"],
        soft_merge=facts["merge_strategy"] == "soft",
        patterns=tuple(patterns.items()),
        uncertain=(),
    )


def environments(project: KedroProject) -> list[str]:
    """Return the environments that a `--env` could name, the default one first.

    The base is none of them unless it is the default.
    """
    found = set(env_folders(project))
    found.discard(project.base_env)
    if project.base_env == "":
        found.clear()
    default = project.default_env()
    return [default, *sorted(found - {default})]


def env_folders(project: KedroProject) -> list[str]:
    """Return the names of the directories that the project's configuration has, the base's too."""
    if not project.conf.is_dir():
        return []
    entries = project.conf.iterdir()
    return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def listed(names: Sequence[str]) -> str:
    """Return the names as text for people; `none` where there are none."""
    return ", ".join(names) or "none"


def _is_name(env: str) -> bool:
    return env not in {"", ".", ".."} and env.isprintable() and not {"/", "\\"} & set(env)


def config_files(project: KedroProject, env: str, kind: str) -> list[Path]:
    """Return the files that Kedro's loader reads for that kind in one environment, by name."""
    folder = project.folder(env)
    expressions = [_glob_expression(pattern) for pattern in dict(project.patterns)[kind]]
    return sorted(
        path
        for path in _visible_files(folder)
        if path.suffix in SUFFIXES
        and any(expression.fullmatch(path.relative_to(folder).as_posix()) for expression in expressions)
    )


def visible_config(project: KedroProject) -> Iterator[Path]:
    """Yield every configuration file of the project, of any kind and environment."""
    return (path for path in _visible_files(project.conf) if path.suffix in SUFFIXES)


def _visible_files(folder: Path) -> Iterator[Path]:
    for parent, directories, names in os.walk(folder):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        yield from (Path(parent) / name for name in names if not name.startswith("."))


def _glob_expression(pattern: str) -> re.Pattern[str]:
    """Return fsspec's glob as a regular expression: `**` also matches files below."""
    translated = ""
    for part in re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", pattern):
        translated += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))
    return re.compile(translated)


def _tool_kedro(path: Path) -> dict[str, Any] | None:
    try:
        content = (read_file(path) or b"").decode("utf-8")
    except (ProvisionError, UnicodeDecodeError) as error:
        raise NotAProject(
            f"{path} cannot be read",
            where=str(path),
            why=str(error),
            hint="check its permissions and encoding",
        ) from error
    if "[tool.kedro" not in content:
        return None
    # Python 3.10 has it only as a package of another name.
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        table = toml.loads(content).get("tool", {}).get("kedro")
    except ValueError as error:
        raise NotAProject(
            f"{path} is not valid TOML",
            where=str(path),
            why=str(error),
            hint="correct it; Kedro cannot read it either",
        ) from error
    return table if isinstance(table, dict) else None


def _read_project(directory: Path, table: Mapping[str, Any]) -> KedroProject:
    package = str(table.get("package_name") or "")
    if not package:
        where = str(directory / "pyproject.toml")
        raise NotAProject(
            "[tool.kedro] names no package_name",
            where=where,
            hint="add it; Kedro cannot run the project without",
        )
    source = (directory / Path(str(table.get("source_dir", "src"))).expanduser()).resolve()
    project = KedroProject(directory, package, source, directory / "conf")
    try:
        content = read_file(project.settings_file)
        if content is None:
            return project
        tree = ast.parse(content)
    except (ProvisionError, SyntaxError, ValueError):
        return replace(project, uncertain=("settings.py",))
    return _with_settings(project, tree, table)


def _with_settings(project: KedroProject, tree: ast.Module, table: Mapping[str, Any]) -> KedroProject:
    """Return the project with the settings that are plain literals; the others are uncertain."""
    uncertain: list[str] = []
    conf_source = _literal(_assigned(tree, "CONF_SOURCE", uncertain), "CONF_SOURCE", "conf", str, uncertain)
    left_out = {"base_env": "", "default_run_env": ""} if _is_strict(table) else _DEFAULT_ENVS
    arguments = _loader_arguments(_assigned(tree, "CONFIG_LOADER_ARGS", uncertain), left_out, uncertain)
    patterns: dict[str, tuple[str, ...]] = dict(PATTERNS)
    for kind, globs in arguments.get("config_patterns", {}).items():
        if kind in PATTERNS:
            patterns[kind] = tuple(globs)
    return replace(
        project,
        conf=project.path / conf_source,
        base_env=arguments["base_env"],
        run_env=arguments["default_run_env"],
        soft_merge=arguments.get("merge_strategy", {}).get("mlflow") == "soft",
        patterns=tuple(patterns.items()),
        uncertain=tuple(uncertain),
    )


def _assigned(tree: ast.Module, name: str, uncertain: list[str]) -> ast.expr | None:
    """Return the one value given to a name at the top of the module; None when there is none.

    A name also set, read or imported elsewhere is uncertain.
    """
    everywhere = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
    ]
    assignments = [
        statement
        for statement in tree.body
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value
    ]
    plain = [statement.value for statement in assignments if name in _targets(statement)]
    imported = any(
        isinstance(node, ast.ImportFrom) and any(alias.name in (name, "*") for alias in node.names)
        for node in tree.body
    )
    read_too = any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
        for node in ast.walk(tree)
    )
    if imported or read_too or len(everywhere) != len(plain) or len(plain) > 1:
        uncertain.append(name)
        return None
    return plain[0] if plain else None


def _targets(statement: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_strict(table: Mapping[str, Any]) -> bool:
    """Return whether the project is for Kedro 0.19 or later.

    There CONFIG_LOADER_ARGS that names no environments has none.
    """
    release = re.match(
        r"0\.(\d+)", str(table.get("kedro_init_version") or table.get("project_version") or "")
    )
    return not release or int(release[1]) >= 19


def _loader_arguments(
    node: ast.expr | None, left_out: Mapping[str, str], uncertain: list[str]
) -> dict[str, Any]:
    """Return the arguments that matter here, as Kedro takes them.

    What CONFIG_LOADER_ARGS leaves out differs by its release.
    """
    if node is None:
        return dict(_DEFAULT_ENVS)
    arguments: dict[str, Any] = dict(left_out)
    if not isinstance(node, ast.Dict):
        uncertain.append("CONFIG_LOADER_ARGS")
        return arguments
    for key, value in zip(node.keys, node.values, strict=True):
        if not isinstance(key, ast.Constant):
            uncertain.append("CONFIG_LOADER_ARGS")
        elif key.value in _READ:
            name = str(key.value)
            wanted: type = str if name.endswith("_env") else dict
            arguments[name] = _literal(value, f"CONFIG_LOADER_ARGS[{name!r}]", wanted(), wanted, uncertain)
    return arguments


def _literal(node: ast.expr | None, name: str, default: Any, wanted: type, uncertain: list[str]) -> Any:
    if node is None:
        return default
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        value = None
    if isinstance(value, wanted):
        return value
    uncertain.append(name)
    return default
