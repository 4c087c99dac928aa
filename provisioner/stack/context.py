"""One stack on its host: what is kept of it, and what follows from that, each found once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from provisioner.errors import Unhealthy
from provisioner.mlflow_api import StackRest
from provisioner.model.proxy import default_port, in_url, local_address, terminates_tls
from provisioner.model.release import Release
from provisioner.model.secret import Secret
from provisioner.model.setting_keys import said
from provisioner.model.settings import SOURCE, Settings
from provisioner.model.settings_text import settings_of
from provisioner.model.stack import Stack, build_stack
from provisioner.model.state import State
from provisioner.output import Reporter
from provisioner.runtimes.base import Instance, Runtime
from provisioner.runtimes.choose import make_runtime
from provisioner.runtimes.docker.compose_file import port_in_env
from provisioner.runtimes.recipe import Recipe
from provisioner.stack.client import ProxyAddress, stack_client
from provisioner.stack.release import changed_settings, other_release, told
from provisioner.system.host import Host, LocalHost

STATE_FILE = "state.json"
CA_FILE = "ca.crt"
ENV_FILE = ".env"
# A usual ending for YAML, but not the one that settings have.
LOOKALIKE = f"{Path(SOURCE).stem}.yaml"


@dataclass(frozen=True)
class StackContext:
    """A stack's directory on its host with what stands in it; a command makes one, and asks it for all else.

    `reason` says why it is this stack. What is derived is kept: a context never sees a later change of the
    directory.
    """

    directory: Path
    reason: str
    host: Host
    settings: Settings
    state: State
    here: Path | None = None
    """The directory of this machine that has the settings of a stack on another."""
    asked: Settings | None = None
    """What `provision.yml` says, where that is not applied: `settings` has what another release made."""

    @property
    def source(self) -> Path:
        """Return the directory of `provision.yml` and the files that it names, on this machine."""
        return self.here or self.directory

    @property
    def location(self) -> str:
        """Return the stack's directory, with its host where that is another machine."""
        return f"{self.host.name}:{self.directory}" if self.host.is_remote else str(self.directory)

    @property
    def is_made(self) -> bool:
        """Return whether the stack was ever brought up."""
        return self.state.runtime is not None

    def never_made(self) -> Unhealthy:
        """Return the error for a stack that was never brought up, which may run by plain Compose."""
        if self.rendered_port is None:
            return Unhealthy(
                "this stack was never brought up", where=self.location, hint="`provision up` starts it"
            )
        return Unhealthy(
            "this stack was rendered, and never brought up by `provision up`",
            where=self.location,
            hint="`provision up` takes over what `docker compose` started from these files",
            left_as="nothing was changed",
        )

    @property
    def other_release(self) -> Release | None:
        """Return the release that the stack was made with, where it is another than this program's.

        Its rendered files are used as they stand.
        """
        return other_release(self.state)

    @cached_property
    def project(self) -> str:
        """Return the unique name of the stack's services: fixed when the stack is made."""
        if self.state.project:
            return self.state.project
        path = hashlib.sha256(str(self.directory).encode()).hexdigest()
        return f"{self.settings.name}-{path[:6]}"

    @cached_property
    def port(self) -> int:
        """Return the proxy's port.

        It is the user's (with TLS that of the public URL), the one found before, or the default.
        """
        server = self.settings.server
        if server.port or terminates_tls(server):
            return server.port or default_port(server)
        # `render` chooses one for who starts the stack without us.
        return self.state.port or self.rendered_port or default_port(server)

    @cached_property
    def rendered_port(self) -> int | None:
        """Return the port that the rendered files name; None while there are none."""
        return port_in_env(self.host.get(self.directory / ENV_FILE))

    @property
    def may_choose_port(self) -> bool:
        """Return whether the user named no port, and nobody has the address: the stack was never checked.

        With TLS, on a server, or in the files of another release, the port is not free to choose.
        """
        if self.other_release:
            return False
        server = self.settings.server
        unknown = self.state.port is None or not self.state.checked
        return server.port is None and unknown and not terminates_tls(server) and not self.host.is_remote

    @property
    def tracking_uri(self) -> str:
        """Return the address that clients use: the public one, or this machine's."""
        server = self.settings.server
        return server.public_url or f"http://{in_url(server.bind)}:{self.port}"

    @cached_property
    def model(self) -> Stack:
        """Return the stack as its settings give it on its runtime; raise Unhealthy when it has none yet."""
        if self.state.runtime is None:
            raise self.never_made()
        stack, state = build_stack(self.settings, self.state.runtime), self.state
        if self.other_release is None:
            return stack
        return stack.as_made(state.services, state.secrets)

    @cached_property
    def model_as_made(self) -> Stack:
        """Return the stack that the last `up` made, whatever its settings say now.

        One of before that was kept, or whose settings this release does not know, is as they say.
        """
        kept = self.state.settings
        if self.state.runtime is None or kept is None or kept == said(self.settings):
            return self.model
        made_with = settings_of(kept)
        return build_stack(made_with, self.state.runtime) if made_with else self.model

    @cached_property
    def runtime(self) -> Runtime:
        """Return what runs the stack, on its directory and host; raise Unhealthy when nothing does yet."""
        return self.runtime_on(self.port)

    def runtime_on(self, port: int) -> Runtime:
        """Return what runs the stack, with its proxy on another port."""
        instance = Instance(
            self.directory,
            self.project,
            port,
            self.here,
            self.state.identity,
            is_new=not self.state.checked,
            recipe=self.recipe,
        )
        return make_runtime(self.model, instance, self.host)

    @cached_property
    def recipe(self) -> Recipe | None:
        """Return the files of a stack of another release; None where they are rendered."""
        release, state = self.other_release, self.state
        if release is None:
            return None
        return Recipe(release, state.recipe, self.directory, self.host, state.recipe_fault)

    @cached_property
    def proxy(self) -> ProxyAddress:
        """Return where this machine reaches the proxy, and how."""
        server = self.settings.server
        address = self.host.forward(f"{local_address(server.bind)}:{self.port}")
        return ProxyAddress(address, terminates_tls(server), self.clients_ca(), self.state.identity)

    def client(self, password: Secret | None = None, timeout: float = 10) -> StackRest:
        """Return a client of the stack's server, as its admin with a password; `timeout` is in seconds."""
        return stack_client(self.proxy, self.tracking_uri, password, timeout)

    def clients_ca(self) -> bytes | None:
        """Return the private certificates that clients need to trust the proxy, as they are now.

        None when they need none, or it never ran.
        """
        return self.host.get(self.directory / CA_FILE)

    def own_file(self, name: str) -> bytes | None:
        """Return the content of a user's file that a setting names; None when it is not there."""
        return LocalHost().get(self.source / name)

    def announce(self, reporter: Reporter) -> None:
        """Say which stack it is and why, and which file is not read that one may take for its settings."""
        reporter.using(stack=str(self.source), runtime=self.state.runtime or "")
        reporter.note("stack", f"{self.source} ({self.reason})")
        for path in {self.source / LOOKALIKE, Path.cwd() / LOOKALIKE}:
            if path.is_file():
                reporter.warn(LOOKALIKE, f"{path} is not read: the settings of a stack are in {SOURCE}")
        if self.host.is_remote:
            reporter.note("host", self.location)
        self.announce_release(reporter)

    def announce_release(self, reporter: Reporter) -> None:
        """Say so where the stack is of another release, and which settings are not applied to it."""
        if self.other_release:
            reporter.note("release", told(self.other_release))
        if self.asked:
            keys = ", ".join(changed_settings(self.state, self.asked))
            reporter.warn(SOURCE, f"{keys}: changed, and not applied; the stack is as it was made")

    def with_state(self, **changes: object) -> StackContext:
        """Return the stack as it is to be, with these values of its state; nothing is saved."""
        return replace(self, state=self.state.with_(**changes))

    def save(self, state: State) -> StackContext:
        """Save the state in the stack's directory, and return the stack with it."""
        if state != self.state:
            self.host.put(state.text(), self.directory / STATE_FILE, 0o644)
        return replace(self, state=state)
