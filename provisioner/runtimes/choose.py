"""Which runtime a stack gets."""

from __future__ import annotations

from collections.abc import Callable

from provisioner.errors import WouldLoseData
from provisioner.model.stack import RuntimeKind
from provisioner.runtimes.base import RuntimeChoice


def choose_runtime(option: RuntimeKind | None, made_with: RuntimeKind | None, why_not_docker: Callable[[], str]) -> RuntimeChoice:
    """Return the runtime and the reason for it.

    It is what the stack was made with, then the option, then Docker if it answers, then embedded. Raise
    WouldLoseData when the option differs from what the stack was made with.
    """
    if made_with:
        if option and option != made_with:
            raise WouldLoseData(
                f"this stack was made with the {made_with} runtime; its data is there",
                why=f"--runtime {option} would start an empty one beside it",
                hint=f"leave --runtime out, or make another stack: `provision up --runtime {option} --stack DIR`",
            )
        return RuntimeChoice(made_with, "the stack was made with it")
    if option:
        return RuntimeChoice(option, "--runtime")
    reason = why_not_docker()
    if not reason:
        return RuntimeChoice("docker", "its engine answers")
    return RuntimeChoice("embedded", f"no Docker: {reason}")
