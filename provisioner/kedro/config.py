"""What the configuration files of a Kedro project say about MLflow, environment by environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.errors import EditRefused, LinkRefused
from provisioner.kedro.project import KedroProject, config_files
from provisioner.yaml_edit.edit import TRACKING_URI, line, read

Reader = Callable[[Path], bytes | None]
_GLOBAL = re.compile(r"\$\{globals:\s*([A-Za-z][\w.]*)\s*\}")


@dataclass(frozen=True)
class Layer:
    """The files of one kind in one environment; each top-level key stands in one of them."""

    env: str
    folder: Path
    exists: bool
    files: tuple[Path, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    homes: Mapping[str, Path] = field(default_factory=dict)

    def home(self, key: str, default_name: str) -> Path:
        """Return the file that has the key, else the one where it belongs."""
        if key in self.homes:
            return self.homes[key]
        stem = default_name.partition(".")[0]
        named = [
            path
            for path in self.files
            if path.stem == stem and path.parent == self.folder and path.suffix != ".json"
        ]
        return named[0] if named else self.folder / default_name


@dataclass(frozen=True)
class EffectiveConfig:
    """The tracking URI of an environment and why; `uri` is None where only Kedro itself could tell."""

    env: str
    uri: str | None
    origin: str
    why: str
    credentials: str = ""


def read_layer(project: KedroProject, env: str, kind: str, reader: Reader) -> Layer:
    """Read one environment's configuration.

    Raise LinkRefused when Kedro could not load it or we could not edit it with certainty.
    """
    folder = project.folder(env)
    files = config_files(project, env, kind)
    data: dict[str, Any] = {}
    homes: dict[str, Path] = {}
    contents = [(path, reader(path)) for path in files]
    for path, content in contents:
        for key, value in read(content or b"", project.shown(path)).items():
            if key in homes and not str(key).startswith("_"):
                raise _twice(project, str(key), homes[key], path)
            data[key], homes[key] = value, path
    there = tuple(path for path, content in contents if content is not None)
    return Layer(env, folder, folder.is_dir(), there, data, homes)


def referred_global(value: object) -> tuple[str, ...]:
    """Return the keys of `${globals:a.b}` when the value is exactly that, else ()."""
    found = _GLOBAL.fullmatch(value.strip()) if isinstance(value, str) else None
    return tuple(found.group(1).split(".")) if found else ()


def server_block(layer: Layer) -> dict[str, Any] | None:
    """Return the layer's `server` block; None when it has none, {} when it is empty or not a mapping."""
    if "server" not in layer.data:
        return None
    block = layer.data["server"]
    return block if isinstance(block, dict) else {}


def effective(
    project: KedroProject, env: str, reader: Reader, environ: Mapping[str, str] | None = None
) -> EffectiveConfig:
    """Return what a `kedro run` in that environment would use, as far as the files tell it."""
    environ = os.environ if environ is None else environ
    if env != project.base_env and not project.folder(env).is_dir():
        missing = project.shown(project.folder(env))
        why = f"{missing} is not there, so Kedro reads no mlflow.yml at all, not even the base's"
        return _fallback(env, why, environ)
    try:
        return _effective(project, env, reader, environ)
    except EditRefused as error:
        return EffectiveConfig(env, None, "error", error.what)


def _effective(
    project: KedroProject, env: str, reader: Reader, environ: Mapping[str, str]
) -> EffectiveConfig:
    run, base = (read_layer(project, name, "mlflow", reader) for name in (env, project.base_env))
    block, layer = _winning(project, run, base)
    if layer is None:
        return _fallback(env, "no mlflow.yml has a `server` block", environ)
    where = _where(project, layer, reader)
    login = block.get("credentials") if isinstance(block.get("credentials"), str) else ""
    value = block.get("mlflow_tracking_uri")
    if value is None:
        found = _fallback(env, f"{where} sets no mlflow_tracking_uri", environ)
        return EffectiveConfig(env, found.uri, found.origin, found.why, str(login))
    hidden = (
        " (which replaces the whole block of the base)"
        if layer is run and server_block(base) and not project.soft_merge
        else ""
    )
    path = referred_global(value)
    if path:
        resolved, file = resolve_global(project, env, path, reader)
        why = f"{where} refers to globals:{'.'.join(path)}, which {file} sets"
        return EffectiveConfig(env, resolved, "globals", why, str(login))
    if not isinstance(value, str) or "${" in value:
        return EffectiveConfig(env, None, "interpolation", f"{where} interpolates {value}", str(login))
    return EffectiveConfig(env, value, "file", where + hidden, str(login))


def place_of(project: KedroProject, env: str, path: Sequence[str], reader: Reader) -> str:
    """Return the file and line that set a value of mlflow.yml in that environment, or a block above it.

    It is "" when none does.
    """
    found: tuple[int, str] = (0, "")
    for name in dict.fromkeys((env, project.base_env)):
        try:
            file = read_layer(project, name, "mlflow", reader).homes.get(path[0])
        except EditRefused:
            continue
        depth, number = _deepest(reader(file) or b"", path) if file else (0, 0)
        if file and depth > found[0]:
            found = depth, f"{project.shown(file)}, line {number}"
    return found[1]


def _deepest(content: bytes, path: Sequence[str]) -> tuple[int, int]:
    """Return how many keys of the path the file has, and the line of the last one; zeros for none."""
    lines = ((depth, line(content, path[:depth], "")) for depth in range(len(path), 0, -1))
    return next(((depth, number) for depth, number in lines if number), (0, 0))


def resolve_global(
    project: KedroProject, env: str, path: tuple[str, ...], reader: Reader
) -> tuple[str | None, str]:
    """Return a global's value, None unless it is a plain string, and the file that gives it."""
    for name in dict.fromkeys((env, project.base_env)):
        layer = read_layer(project, name, "globals", reader)
        if path[0] in layer.data:
            value: Any = layer.data
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            plain = value if isinstance(value, str) and "${" not in value else None
            return plain, project.shown(layer.homes[path[0]])
    return None, "no globals.yml"


def _winning(project: KedroProject, run: Layer, base: Layer) -> tuple[dict[str, Any], Layer | None]:
    """Return the `server` block that counts, and its layer; None for the layer when there is no block.

    The run environment's replaces the base's whole, or is merged over it; then the layer is the one that
    decides the tracking URI.
    """
    ours, theirs = server_block(run), server_block(base)
    if ours is None:
        return theirs or {}, base if theirs is not None else None
    if project.soft_merge and theirs is not None:
        merged = {**theirs, **ours}
        return merged, run if "mlflow_tracking_uri" in ours else base
    return ours, run


def _where(project: KedroProject, layer: Layer, reader: Reader) -> str:
    file = layer.homes["server"]
    return f"{project.shown(file)}, line {_deepest(reader(file) or b'', TRACKING_URI)[1]}"


def _fallback(env: str, why: str, environ: Mapping[str, str]) -> EffectiveConfig:
    if uri := environ.get("MLFLOW_TRACKING_URI"):
        return EffectiveConfig(env, uri, "environment variable", f"{why}; MLFLOW_TRACKING_URI is set")
    return EffectiveConfig(
        env,
        "mlruns",
        "default",
        f"{why}; kedro-mlflow then takes the folder mlruns, which MLflow 3.13 and later refuse",
    )


def _twice(project: KedroProject, key: str, first: Path, second: Path) -> LinkRefused:
    one, other = project.shown(first), project.shown(second)
    return LinkRefused(
        f"{one} and {other} both have the key {key!r}",
        where=other,
        why="Kedro reads every file whose name begins so, and stops with `Duplicate keys found`",
        hint=f"rename a file that is only a copy, for example to {second.name}.bak",
    )
