"""Docker's command line on one host, for one stack."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from provisioner.errors import UNCHANGED, CommandFailed, ProvisionError
from provisioner.runtimes.base import Instance
from provisioner.runtimes.docker import cli
from provisioner.system.host import Host
from provisioner.system.process import Completed


class Engine:
    """Runs `docker` and `docker compose` where the stack is; failures that are known come in words."""

    def __init__(self, instance: Instance, host: Host) -> None:
        self._instance = instance
        self._host = host

    def run(
        self,
        argv: list[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60,
        check: bool = True,
        in_directory: bool = True,
    ) -> Completed:
        """Run the command, in the stack's directory where that is there and unless told otherwise."""
        directory = self._instance.directory
        cwd = directory if in_directory and self._host.has_directory(directory) else None
        try:
            return self._host.run(
                argv, cwd=cwd, env=self._environment(), stdin=stdin, timeout=timeout, check=check
            )
        except CommandFailed as failure:
            raise self.explained(failure) from failure

    def docker(self, *arguments: str, timeout: float = 60, check: bool = True) -> Completed:
        """Run `docker ARGUMENTS`."""
        return self.run(["docker", *arguments], timeout=timeout, check=check)

    def compose(
        self, *arguments: str, timeout: float = 60, check: bool = True, in_directory: bool = True
    ) -> Completed:
        """Run `docker compose ARGUMENTS` on the stack's project."""
        return self.run(
            cli.compose(self._instance.project, *arguments),
            timeout=timeout,
            check=check,
            in_directory=in_directory,
        )

    def stream(self, on_line: Callable[[str], None], *arguments: str) -> None:
        """Run a long `docker compose ARGUMENTS`; hand on its progress line by line."""
        argv = cli.compose(self._instance.project, *arguments, progress="plain")
        self._host.stream(argv, on_line, cwd=self._instance.directory, env=self._environment())

    def transfer(self, *arguments: str, stdin: IO[bytes] | None, stdout: IO[bytes] | None) -> None:
        """Run `docker compose ARGUMENTS` to its end with these open files as its streams."""
        argv = cli.compose(self._instance.project, *arguments, progress="quiet")
        try:
            self._host.transfer(
                argv, stdin=stdin, stdout=stdout, cwd=self._instance.directory, env=self._environment()
            )
        except CommandFailed as failure:
            raise self.explained(failure) from failure

    def attach(self, *arguments: str) -> int:
        """Run `docker compose ARGUMENTS` on this terminal; return its exit code."""
        argv = cli.compose(self._instance.project, *arguments)
        return self._host.attach(argv, cwd=self._instance.directory, env=self._environment())

    def containers(self) -> str:
        """Return every container of the stack's project, a row each for the functions of `cli.py`."""
        return self.run(cli.list_containers(self._instance.project), in_directory=False).text

    def explained(self, failure: CommandFailed, left_as: str = UNCHANGED) -> ProvisionError:
        """Return the failure in words where it is a known one, else the failure itself."""
        return cli.explained(failure, left_as, remote=self._host.is_remote)

    def endpoint(self) -> str:
        """Return the engine's address; "" for the default.

        The engine is asked only when something points away from the default.
        """
        if host := os.environ.get("DOCKER_HOST"):
            return host
        config = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
        if os.environ.get("DOCKER_CONTEXT") or cli.current_context(self._host.get(config)) not in {
            "",
            "default",
        }:
            return self.docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").text
        return ""

    def _environment(self) -> dict[str, str]:
        """Return the user's environment, without what would change a stack against its settings.

        The stack's own port is added.
        """
        kept = {
            key: value
            for key, value in self._host.environment().items()
            if not key.startswith(("COMPOSE_", "PROVISION_"))
        }
        return kept | {"PROVISION_PORT": str(self._instance.port)}
