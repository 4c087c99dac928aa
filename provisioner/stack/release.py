"""Which release a stack is of, and what this program, of another one, does not do to it."""

from __future__ import annotations

import provisioner
from provisioner.assets import mlflow_version
from provisioner.errors import OtherRelease
from provisioner.model.release import Release
from provisioner.model.settings import SOURCE, Settings, said
from provisioner.model.state import State


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
    return f"the stack is of {made_with}, and used as it is; {_moves()}"


def refuse_changed_settings(state: State, settings: Settings) -> None:
    """Raise OtherRelease where the settings are not those that another release made the stack with."""
    release = other_release(state)
    if release is None or state.settings is None:
        return
    before, now = state.settings, said(settings)
    changes = [
        f"{key}: {_shown(now, key)}, the stack was made with {_shown(before, key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if changes:
        raise OtherRelease(
            f"the settings of a stack of {release} have changed",
            where=SOURCE,
            why="; ".join(changes),
            hint=f"{what_helps(release)}; or put the old values back",
        )


def refuse_to_render(state: State) -> None:
    """Raise OtherRelease where the rendered files are another release's."""
    if release := other_release(state):
        raise OtherRelease(
            f"the files of this stack are of {release}, and are not rendered by this one",
            hint=f"`provision up` uses them as they stand; {what_helps(release)}",
        )


def what_helps(made_with: Release) -> str:
    """Return how a stack of that other release is changed."""
    if made_with.is_newer_than(this_release()):
        return f"install provision {made_with.provision}, which knows this stack"
    return f"{_moves()}, then change it"


def _moves() -> str:
    return f"`provision upgrade` moves it to {this_release()}"


def _shown(values: dict[str, object], key: str) -> str:
    return str(values[key]) if key in values else "nothing"
