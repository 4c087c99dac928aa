"""What the services wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from provisioner.errors import INTERRUPTED, PreflightError
from provisioner.output import Data, Reporter, Result
from provisioner.stack.find import open_made_stack


@dataclass(frozen=True)
class LogsData(Data):
    """What `logs` gives; nothing with --follow."""

    command: ClassVar[str] = "logs"

    logs: Annotated[dict[str, str] | None, "the last lines of each service by its name"] = None


def logs(option: Path | None, service: str | None, lines: int, follow: bool, reporter: Reporter) -> Result:
    """Return the last lines of one service or of all; with `follow` show all new ones until interrupted."""
    context = open_made_stack(option, reporter)
    stack, runtime = context.model, context.runtime
    names = [one.name for one in stack.services]
    if service and service not in names:
        raise PreflightError(f"no service is called {service}", hint=f"the services are {', '.join(names)}")
    if follow:
        try:
            return Result(LogsData(), returncode=runtime.follow(service, lines))
        except KeyboardInterrupt:
            # Its usual end.
            return Result(LogsData(), returncode=INTERRUPTED)
    texts = {name: runtime.logs(name, lines) for name in ([service] if service else names)}
    if service:
        return Result(LogsData(texts), (texts[service],), verbatim=True)
    return Result(
        LogsData(texts),
        tuple(f"{name:<10} {line}" for name, text in texts.items() for line in text.splitlines()),
        verbatim=True,
    )
