"""Which release a stack is of, and what this program, of another one, does not do to it."""

from __future__ import annotations

import provisioner
from provisioner.assets import mlflow_version
from provisioner.errors import OtherRelease
from provisioner.model.proxy import default_port, terminates_tls
from provisioner.model.release import Release
from provisioner.model.setting_keys import said
from provisioner.model.settings import SOURCE, Group, Settings
from provisioner.model.settings_text import settings_of
from provisioner.model.state import State
from provisioner.model.stores.table import DEFAULT_ARTIFACT_STORES

PORT = "server.port"


def this_release() -> Release:
    """Return the release of this program."""
    return Release(provisioner.__version__, mlflow_version())


def other_release(state: State) -> Release | None:
    """Return the release that a stack was made with; None where it is this one, or was not kept."""
    ours = this_release()
    made_with = Release(state.made_by or ours.provision, state.mlflow or ours.mlflow)
    return made_with if made_with != ours else None


def told(made_with: Release) -> str:
    """Return what a person has to know of a stack of that other release."""
    if made_with.is_newer_than(this_release()):
        return f"the stack is of {made_with}, newer than this program; it is used as it is"
    return f"the stack is of {made_with}, and used as it is; {_to_come()}"


def refuse_changed_settings(state: State, settings: Settings) -> None:
    """Raise OtherRelease where the settings are not those that another release made the stack with.

    What the machine decides, and the stack's files take as it is, may change.
    """
    release = other_release(state)
    if release is None:
        return
    before, now = state.settings or {}, said(settings)
    changes = [
        f"{key}: {_shown(now, key)}, the stack was made with {_shown(before, key)}"
        for key in changed_settings(state, settings)
    ]
    if changes:
        raise OtherRelease(
            f"the settings of a stack of {release} have changed",
            where=SOURCE,
            why="; ".join(changes),
            hint=f"put the old values back, or {what_helps(release)}",
        )


def changed_settings(state: State, settings: Settings) -> list[str]:
    """Return the keys whose values are not those that the stack was made with, but for the machine's own.

    A key that was not written then has the default of this release: the one of then is not known.
    """
    if state.settings is None:
        return []
    before, now = state.settings, said(settings)
    defaults = _defaults(state, settings)
    free = _machines_own(state, settings)
    return [
        key
        for key in sorted({*before, *now} - free)
        if before.get(key, defaults.get(key)) != now.get(key, defaults.get(key))
    ]


def settings_as_made(state: State, settings: Settings) -> Settings | None:
    """Return the settings that another release made the stack with, and the machine's own of these.

    Return None where these are no other, or where those are not for this release to read.
    """
    if state.settings is None or not other_release(state) or not changed_settings(state, settings):
        return None
    free = _machines_own(state, settings)
    values = {key: value for key, value in state.settings.items() if key not in free}
    values |= {key: value for key, value in said(settings).items() if key in free}
    return settings_of(values)


def _defaults(state: State, settings: Settings) -> dict[str, object]:
    """Return what a key means that is not written, for this stack."""
    server, runtime = settings.server, state.runtime
    own = {
        # With TLS it is the one of the address, whatever was found before.
        PORT: default_port(server) if terminates_tls(server) else state.port,
        "artifact_store.kind": DEFAULT_ARTIFACT_STORES[runtime].kind if runtime else None,
    }
    return _default_values(settings) | own


def _default_values(group: Group, before: str = "") -> dict[str, object]:
    """Return the default of every key of these settings, by key as it is written in messages."""
    found: dict[str, object] = {}
    for key, info in type(group).model_fields.items():
        value = info.get_default(call_default_factory=True)
        if isinstance(value, Group):
            found |= _default_values(getattr(group, key), f"{before}{key}.")
        else:
            found[before + key] = list(value) if isinstance(value, tuple) else value
    return found


def _machines_own(state: State, settings: Settings) -> set[str]:
    """Return the keys that are no part of the rendered files, where the stack's runtime has them."""
    free = {"ssh", "build.ca_file"}
    if state.runtime == "embedded":
        # Docker's files have it as an argument of the build.
        return {*free, "build.index_url"}
    return free | ({PORT} if moves_port(state, settings) else set())


def moves_port(state: State, settings: Settings) -> bool:
    """Return whether a stack of another release takes another port: Docker's files read it from `.env`.

    The proxy's own file has it on the embedded runtime, and with TLS the redirects and the address do.
    """
    return state.runtime == "docker" and not terminates_tls(settings.server)


def refuse_to_render(state: State) -> None:
    """Raise OtherRelease where the rendered files are another release's."""
    if release := other_release(state):
        raise OtherRelease(
            f"the files of this stack are of {release}, and are not rendered by this one",
            hint=f"`provision up` uses them as they stand; or {what_helps(release)}",
        )


def what_helps(made_with: Release) -> str:
    """Return how a stack of that other release is changed, to stand after "or"."""
    if made_with.is_newer_than(this_release()):
        return f"install {made_with}, which knows this stack"
    return f"change it with {made_with}, which made it; {_to_come()}"


def _to_come() -> str:
    return f"`provision upgrade`, which is still to come, will move it to {this_release()}"


def _shown(values: dict[str, object], key: str) -> str:
    return str(values[key]) if key in values else "nothing"
