"""The server's workers, each in its role, after one was replaced."""

from __future__ import annotations

from tests.server.deployed import Deployed, Processes, eventually


def replaced(
    deployed: Deployed, before: Processes, gone: tuple[int, ...], deadline: float = 60.0
) -> Processes:
    """The processes once those are gone and as many of each role are there again, under the same master."""
    found: list[Processes] = []

    def done() -> bool:
        now = deployed.processes()
        found[:] = [now]
        complete = (len(now.flask), len(now.asgi)) == (len(before.flask), len(before.asgi))
        return complete and not set(gone) & set(now.workers) and now.master == before.master

    eventually(done, f"{gone} replaced, of {before}", found, deadline)
    return found[0]
