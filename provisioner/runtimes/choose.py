"""Which runtime a stack gets, and the making of it."""

from __future__ import annotations

from collections.abc import Callable

from provisioner.errors import WouldLoseData
from provisioner.model.stack import Stack
from provisioner.model.stores.base import RuntimeKind
from provisioner.runtimes.base import Instance, Runtime, RuntimeChoice
from provisioner.system.host import Host


def make_runtime(stack: Stack, instance: Instance, host: Host) -> Runtime:
    """Return the stack's runtime; the embedded one is of this machine."""
    # Each is imported where it is used: a command needs one of them.
    if stack.runtime == "docker":
        from provisioner.runtimes.docker.runtime import DockerRuntime

        return DockerRuntime(stack, instance, host)
    from provisioner.runtimes.embedded.runtime import embedded_runtime

    return embedded_runtime(stack, instance)


def choose_runtime(
    option: RuntimeKind | None, made_with: RuntimeKind | None, why_not_docker: Callable[[], str]
) -> RuntimeChoice:
    """Return the runtime and the reason for it.

    It is what the stack was made with, then the option, then Docker if it answers, then embedded. Raise
    WouldLoseData when the option differs from what the stack was made with.
    """
    if made_with:
        if option and option != made_with:
            raise WouldLoseData(
                f"this stack was made with the {made_with} runtime; its data is there",
                why=f"--runtime {option} would start an empty one beside it",
                hint=(
                    "leave --runtime out, or make another stack: "
                    f"`provision up --runtime {option} --stack DIR`"
                ),
            )
        return RuntimeChoice(made_with, "the stack was made with it")
    if option:
        return RuntimeChoice(option, "--runtime")
    reason = why_not_docker()
    if not reason:
        return RuntimeChoice("docker", "its engine answers")
    return RuntimeChoice("embedded", f"no Docker: {reason}")
