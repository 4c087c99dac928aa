"""What the services wrote."""

from __future__ import annotations

from pathlib import Path

from provisioner.errors import INTERRUPTED, PreflightError
from provisioner.output import Reporter, Result
from provisioner.stack.find import open_made_stack


def logs(option: Path | None, service: str | None, lines: int, follow: bool, reporter: Reporter) -> Result:
    """Return the last lines of one service or of all; with `follow` show all new ones until interrupted."""
    context = open_made_stack(option, reporter)
    stack, runtime = context.model, context.runtime
    names = [one.name for one in stack.services]
    if service and service not in names:
        raise PreflightError(f"no service is called {service}", hint=f"the services are {', '.join(names)}")
    result = Result("logs", stack=str(context.source), runtime=runtime.kind)
    if follow:
        try:
            result.exit_code = runtime.follow(service, lines)
        except KeyboardInterrupt:
            # Its usual end.
            result.exit_code = INTERRUPTED
        return result
    texts = {name: runtime.logs(name, lines) for name in ([service] if service else names)}
    result.data["logs"] = texts
    for name, text in texts.items():
        result.lines += [text] if service else [f"{name:<10} {line}" for line in text.splitlines()]
    return result
