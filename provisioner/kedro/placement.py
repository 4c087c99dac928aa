"""Where a tracking URI goes in a Kedro project: decides on a draft, writes nothing."""

from __future__ import annotations

import os
import re
from typing import Any

from provisioner.errors import LinkRefused
from provisioner.kedro.config import (
    Layer,
    effective,
    read_layer,
    referred_global,
    resolve_global,
    server_block,
)
from provisioner.kedro.link_plan import ClientEntry, Placement, Wanted
from provisioner.kedro.local_runs import local_runs
from provisioner.kedro.old_login import OldLoginRule, is_login, undecided
from provisioner.kedro.project import KedroProject, env_folders, listed, visible_config
from provisioner.kedro.staged_edits import StagedEdits
from provisioner.model.proxy import is_loopback_url
from provisioner.yaml_edit.edit import CREDENTIALS, REGISTRY_URI, TRACKING_URI, Change, line
from provisioner.yaml_edit.refusals import refuse_flat

ENTRY = "mlflow_server"
_CARRIED = re.compile(r"\$\{(?!globals:|runtime_params:|km\.random_name)")


def make_placement(
    project: KedroProject, draft: StagedEdits, wanted: Wanted, rule: OldLoginRule
) -> Placement:
    """Change the draft so that the project uses the URI; raise LinkRefused when no certain way is known."""
    uri, client = wanted.uri, wanted.client
    if not project.conf.is_dir():
        where = str(project.conf)
        raise LinkRefused(
            "the project's configuration is no directory",
            where=where,
            hint="correct CONF_SOURCE in settings.py, or make it",
        )
    placement = _environments(project, draft, uri, wanted.env)
    old = effective(project, placement.proof_env, draft.read)
    target = _layer(project, draft, placement.env)
    for layer in (target, _layer(project, draft, project.base_env)):
        _refuse_flat_form(project, layer)
    block, below = server_block(target), _below(project, draft, placement)
    seen = block if block is not None else below
    if block is not None and project.soft_merge:
        seen = {**(below or {}), **block}
    reference = referred_global((seen or {}).get("mlflow_tracking_uri"))
    name = (seen or {}).get("credentials")
    name = name if isinstance(name, str) else ""
    _settle_old_login(project, draft, placement, name, old.uri, wanted, rule)
    changes = _login_changes(placement, name, client)
    if reference:
        _set_global(project, draft, placement, reference, uri)
    else:
        changes.insert(0, Change(TRACKING_URI, uri))
    changes += _registry_changes(project, draft, placement, seen or {}, old.uri, wanted)
    if block is None and not reference and not project.soft_merge:
        changes += _carried(below or {}, changes, project, placement)
    home = target if block is not None or not reference else _holder(project, draft, placement)
    if changes:
        draft.edit(home.home("server", "mlflow.yml"), changes)
    if client:
        _write_login(project, draft, placement, client)
    placement.remarks += [("kept", store.path, store.seen) for store in local_runs(project.path)]
    return placement


def _refuse_flat_form(project: KedroProject, layer: Layer) -> None:
    for file in layer.files:
        refuse_flat(
            {key: value for key, value in layer.data.items() if layer.homes[key] == file},
            project.shown(file),
            layer.env,
        )


def _environments(project: KedroProject, draft: StagedEdits, uri: str, env: str | None) -> Placement:
    """Choose which environment to write to, and in which one the result counts.

    Raise LinkRefused when a run would not read what is written.
    """
    default, base = project.default_env(), project.base_env
    if env is not None and env != base:
        return Placement(env, env, warnings=_on_new_environment(project, env))
    if env is None and is_loopback_url(uri):
        if default != project.run_env:
            raise LinkRefused(
                f"KEDRO_ENV is {default}, so `kedro run` does not read "
                f"{project.shown(project.folder(project.run_env))}",
                where="environment variable KEDRO_ENV",
                why="an address of this machine alone belongs into no shared environment",
                hint=f"unset KEDRO_ENV, or say that you mean it with `--env {default}`",
            )
        return Placement(project.run_env, project.run_env)
    layer = _layer(project, draft, default)
    block = server_block(layer) if default != base else None
    hides = block is not None and (not project.soft_merge or "mlflow_tracking_uri" in block)
    if not hides:
        return Placement(base, default)
    if env is None:
        return Placement(default, default)
    home = layer.homes["server"]
    raise LinkRefused(
        f"{project.shown(home)} has a `server` block of its own, which hides the base's",
        where=f"{project.shown(home)}, line {line(draft.read(home) or b'', ('server',), '')}",
        hint=f"remove that block, or link with `--env {default}`",
        left_as="the file is untouched",
    )


def _on_new_environment(project: KedroProject, env: str) -> list[tuple[str, str]]:
    """Return the warning of an environment that neither a folder nor settings.py has: a slip, maybe."""
    if env in (project.base_env, project.run_env) or project.folder(env).is_dir():
        return []
    return [("environment", f"{env} is a new one: the project has {listed(env_folders(project))}")]


def _layer(project: KedroProject, draft: StagedEdits, env: str) -> Layer:
    return read_layer(project, env, "mlflow", draft.read)


def _below(project: KedroProject, draft: StagedEdits, placement: Placement) -> dict[str, Any] | None:
    """Return the base's `server` block where we write above it, else None."""
    return (
        server_block(_layer(project, draft, project.base_env)) if placement.env != project.base_env else None
    )


def _holder(project: KedroProject, draft: StagedEdits, placement: Placement) -> Layer:
    """Return the layer whose `server` block counts."""
    target = _layer(project, draft, placement.env)
    return target if server_block(target) is not None else _layer(project, draft, project.base_env)


def _settle_old_login(
    project: KedroProject,
    draft: StagedEdits,
    placement: Placement,
    name: str,
    old: str | None,
    wanted: Wanted,
    rule: OldLoginRule,
) -> None:
    """Decide what becomes of a login for another server; raise OldLoginFound when nobody has."""
    uri, env = wanted.uri, placement.proof_env
    if not is_login(project, env, name, draft.read) or rule.sends(project, env, name, uri):
        return
    placement.old_login = "remove" if wanted.client.credentials else rule.settled(uri)
    if placement.old_login is None:
        raise undecided(project, name, old, uri)
    _tell_old_login(placement, name, old, uri)


def _tell_old_login(placement: Placement, name: str, old: str | None, uri: str) -> None:
    if placement.old_login == "keep":
        placement.warnings.append(
            ("login", f"{name!r}, made for {old or 'another server'}, is sent to {uri}, since you said so")
        )
        return
    detail = f"{name!r} of {old or 'another server'} is not sent to {uri}; credentials.yml still has it"
    placement.remarks.append(("removed", "login", detail))


def _login_changes(placement: Placement, name: str, client: ClientEntry) -> list[Change]:
    is_ours = bool(name) and placement.old_login != "remove" and "${" not in name
    if client:
        # Beside a login of another server, which its entry keeps.
        placement.entry = name if is_ours else ENTRY if name != ENTRY else f"{ENTRY}_2"
        return [Change(CREDENTIALS, placement.entry)]
    return [Change(CREDENTIALS, None)] if placement.old_login == "remove" else []


def _registry_changes(
    project: KedroProject,
    draft: StagedEdits,
    placement: Placement,
    block: dict[str, Any],
    old: str | None,
    wanted: Wanted,
) -> list[Change]:
    """Return the changes by which the registry follows when it was the old tracking server.

    Else remark where models go; raise LinkRefused when this server's login would be sent there.
    """
    registry = block.get("mlflow_registry_uri")
    if registry is None:
        placement.warnings += _on_shells_registry(wanted)
        return []
    if path := referred_global(registry):
        if path == referred_global(block.get("mlflow_tracking_uri")):
            return []
        registry = resolve_global(project, placement.proof_env, path, draft.read)[0] or registry
    if _same(registry, wanted.uri):
        return []
    if _same(registry, old):
        detail = f"mlflow_registry_uri was {registry}, the old tracking server, and follows"
        placement.remarks.append(("changed", "registry", detail))
        if path and "mlflow_registry_uri" in (server_block(_layer(project, draft, placement.env)) or {}):
            _set_global(project, draft, placement, path, wanted.uri)
            return []
        return [Change(REGISTRY_URI, wanted.uri)]
    if wanted.has_login:
        raise LinkRefused(
            f"this server's login would be sent to {registry}, too",
            where="server.mlflow_registry_uri in mlflow.yml",
            why="MLflow's client has one login, for its tracking server and for its registry",
            hint=f"take mlflow_registry_uri out, or make it {wanted.uri}, then link again",
            left_as="every file is as it was",
        )
    detail = f"mlflow_registry_uri stays {registry}: models are registered there, not on this server"
    placement.remarks.append(("kept", "registry", detail))
    return []


def _on_shells_registry(wanted: Wanted) -> list[tuple[str, str]]:
    """Return the warning of a registry that this shell names and no file; none for this server's."""
    registry = os.environ.get("MLFLOW_REGISTRY_URI")
    if not registry or _same(registry, wanted.uri):
        return []
    sent = ", with this server's login," if wanted.has_login else ""
    return [
        (
            "registry",
            f"this shell has MLFLOW_REGISTRY_URI: models are registered at {registry}{sent} and not on this "
            "server",
        )
    ]


def _same(one: object, other: object) -> bool:
    return isinstance(one, str) and isinstance(other, str) and one.rstrip("/") == other.rstrip("/")


def _carried(
    below: dict[str, Any], changes: list[Change], project: KedroProject, placement: Placement
) -> list[Change]:
    """Return changes that copy the base's other `server` values, which a new block elsewhere would hide.

    Raise LinkRefused when one refers to keys that only the base has.
    """
    taken = {change.path[-1] for change in changes}
    rest = {key: value for key, value in below.items() if key not in taken and key != "mlflow_tracking_uri"}
    for key, value in rest.items():
        if _CARRIED.search(str(value)):
            raise LinkRefused(
                f"server.{key} of the base refers to keys that only the base has ({value})",
                where=project.shown(project.folder(project.base_env)),
                why=f"a `server` block in {placement.env} replaces the base's whole, "
                "and that reference does not work there",
                hint=f"write server.{key} as a plain value, or link with `--env {project.base_env}`",
                left_as="the file is untouched",
            )
    if rest:
        placement.remarks.append(
            (
                "carried",
                "server",
                f"{', '.join(rest)}: as the base has it, since a block replaces the base's whole",
            )
        )
    return [Change(("server", key), value, carried=True) for key, value in rest.items()]


def _set_global(
    project: KedroProject, draft: StagedEdits, placement: Placement, path: tuple[str, ...], uri: str
) -> None:
    """Set the value behind `${globals:...}` in the environment that we write to.

    When that is the base and the run's environment has the value too, set it there. Raise LinkRefused when it
    is not plain text, or setting it would change or hide other values.
    """
    name = ".".join(path)
    value, where = resolve_global(project, placement.proof_env, path, draft.read)
    if value is None:
        raise LinkRefused(
            f"mlflow_tracking_uri refers to globals:{name}, which is no plain text",
            where=where,
            hint=f"write the address as the value of {name}, then link again",
            left_as="the files are untouched",
        )
    _refuse_composed(project, draft, placement, name)
    env = placement.env
    if (
        env == project.base_env
        and path[0] in read_layer(project, placement.proof_env, "globals", draft.read).data
    ):
        env = placement.proof_env
    layer = read_layer(project, env, "globals", draft.read)
    if len(path) > 1 and path[0] not in layer.data:
        raise LinkRefused(
            f"mlflow_tracking_uri refers to globals:{name}, inside of a block of {where}",
            where=where,
            why=f"a block of that name in {env} would replace it whole",
            hint=f"give the address a top-level key of its own in {where}, or link with "
            f"`--env {project.base_env}`",
            left_as="the files are untouched",
        )
    placement.env = env
    draft.edit(layer.home(path[0], "globals.yml"), [Change(path, uri)])


def _refuse_composed(project: KedroProject, draft: StagedEdits, placement: Placement, name: str) -> None:
    """Raise LinkRefused when a longer value is built from the global.

    Add a remark for each other place that uses it whole.
    """
    used = re.compile(rf"globals:\s*{re.escape(name)}(?![\w.])")
    whole = re.compile(
        rf"^[^#]*[:\-\[,]\s*([\"']?)\$\{{globals:\s*{re.escape(name)}\s*\}}\1\s*,?[\]}}]?\s*(#.*)?$"
    )
    for path in visible_config(project):
        for number, text in enumerate((draft.read(path) or b"").decode(errors="replace").splitlines(), 1):
            if text.lstrip().startswith("#") or not used.search(text):
                continue
            where = f"{project.shown(path)}, line {number}"
            if not whole.match(text):
                raise LinkRefused(
                    f"globals:{name} is used inside of a longer value",
                    where=where,
                    why=text.strip(),
                    hint="write mlflow_tracking_uri as a plain value, then link again",
                    left_as="the files are untouched",
                )
            if "mlflow_tracking_uri" not in text:
                placement.remarks.append(("follows", name, f"{where} uses the same value"))


def _write_login(
    project: KedroProject, draft: StagedEdits, placement: Placement, client: ClientEntry
) -> None:
    """Write the login into the credentials of the environment that a run reads beside the base.

    Raise LinkRefused when the base has an entry of that name.
    """
    layer = read_layer(project, placement.proof_env, "credentials", draft.read)
    base = read_layer(project, project.base_env, "credentials", draft.read)
    there = base.data.get(placement.entry)
    if placement.proof_env != project.base_env and placement.entry not in layer.data and there is not None:
        raise LinkRefused(
            f"the credentials {placement.entry!r} that mlflow.yml names are in the base",
            where=project.shown(base.homes[placement.entry]),
            why=f"an entry of that name in {placement.proof_env} would replace them, "
            "and a password does not belong into the base",
            hint=(
                f"move {placement.entry!r} to {project.shown(layer.folder / 'credentials.yml')}, "
                "then link again"
            ),
            left_as="the files are untouched",
        )
    changes = [Change((placement.entry, name), value) for name, value in client.values().items()]
    draft.edit(layer.home(placement.entry, "credentials.yml"), changes, private=True)
