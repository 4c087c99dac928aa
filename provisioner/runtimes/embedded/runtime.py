"""The embedded runtime: the services as processes of this machine, kept alive by supervisord."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from provisioner.assets import asgi_paths, asset_path, server_code
from provisioner.errors import PreflightError, ProvisionError, Unhealthy
from provisioner.model.plan import Observed, Plan
from provisioner.model.stack import Stack
from provisioner.model.stores.base import RuntimeKind
from provisioner.model.stores.postgres import MLFLOW_DATABASE, POSTGRES_USER
from provisioner.output import Reporter
from provisioner.runtimes.base import (
    PROXY,
    SERVER,
    Instance,
    RenderedFile,
    Usage,
    check_processor,
    check_stores,
    psql_options,
    report_done,
)
from provisioner.runtimes.caddyfile import CADDYFILE, identity_files, render_caddyfile
from provisioner.runtimes.embedded import directories
from provisioner.runtimes.embedded.changes import BOOTSTRAP, Changes, observed_bootstrap
from provisioner.runtimes.embedded.environment import (
    LOCKS,
    ServerEnvironment,
    check_space,
    make_environment,
    recipe_of,
    shipped_recipe,
)
from provisioner.runtimes.embedded.filesystem import Mount
from provisioner.runtimes.embedded.fingerprint import fingerprints
from provisioner.runtimes.embedded.interpreter import choose_interpreter
from provisioner.runtimes.embedded.kept_files import NEEDED, comparable, kept_files, kept_specs
from provisioner.runtimes.embedded.preflight import check_file_system, check_proxy
from provisioner.runtimes.embedded.processes import (
    ARTIFACTS,
    CADDY_HOME,
    INITDB,
    POSTGRES_DATA,
    POSTGRES_NEW,
    SECRETS,
    SERVER_SOCKET,
    embedded_addresses,
    entrypoint_argv,
    launcher_argv,
    process_specs,
)
from provisioner.runtimes.embedded.service_user import (
    ServiceUser,
    check_account,
    check_reachable,
    current_account,
    make_account,
)
from provisioner.runtimes.embedded.state import Machine, Memory, memory_here, this_machine, write_memory
from provisioner.runtimes.embedded.supervisor import Supervision, tail
from provisioner.runtimes.embedded.supervisor_rpc import Supervisor, Unreachable
from provisioner.runtimes.embedded.supervisord_conf import (
    LOGS,
    SERVICES_JSON,
    SUPERVISORD_CONF,
    ProcessSpec,
    render_launcher,
    render_supervisord,
)
from provisioner.runtimes.recipe import digests
from provisioner.runtimes.tls_files import CERTIFICATE_FILES, ROOT_CERTIFICATE, certificate_files
from provisioner.system import process, streams
from provisioner.system.files import read_below
from provisioner.system.host import LocalHost, host_memory_mb
from provisioner.system.paths import data_directory
from provisioner.system.ports import listens

BOOTSTRAP_DEADLINE = 300.0


class EmbeddedRuntime:
    """Runs PostgreSQL, the tracking server and Caddy as processes, on unix sockets behind one TCP port."""

    kind: RuntimeKind = "embedded"

    def __init__(
        self,
        stack: Stack,
        instance: Instance,
        *,
        account: ServiceUser,
        environment: ServerEnvironment,
        machine: Machine,
        mount_table: Iterable[Mount] | None = None,
    ) -> None:
        self._stack = stack
        self._instance = instance
        self._directory = instance.directory
        self._account = account
        self._environment = environment
        self._machine = machine
        self._mount_table = mount_table
        binaries, recipe = environment.binaries, instance.recipe
        kept = kept_specs(recipe, binaries, instance.directory) if recipe else ()
        self._specs = kept or process_specs(stack, instance, binaries, host_memory_mb())
        self._services = tuple(spec for spec in self._specs if spec.name != INITDB)
        self._long_running = tuple(spec for spec in self._services if spec.long_running)

    def preflight(self) -> None:
        check_stores(self._stack)
        check_proxy(self._stack.settings.server, self._instance.port, self._account)
        check_processor(LocalHost())
        if not sys.platform.startswith(("linux", "darwin")):
            raise PreflightError(
                "the embedded runtime needs Linux or macOS", why=sys.platform, hint="use Docker"
            )
        check_account(self._account)
        openable = directories.openable(self._directory, self._environment.data)
        check_reachable(self._directory, self._account, openable)
        directories.check_owner(self._directory, self._account)
        check_file_system(self._directory / directories.DATA, self._mount_table)
        check_space(self._environment)
        self._memory()

    def files(self) -> Mapping[str, RenderedFile]:
        certificates = certificate_files(self._stack, self._directory)
        recipe, binaries = self._instance.recipe, self._environment.binaries
        ours = (
            kept_files(recipe, certificates, binaries, self._directory)
            if recipe
            else self._rendered(certificates)
        )
        return {path: RenderedFile(content) for path, content in {**ours, **certificates}.items()}

    def _rendered(self, certificates: Mapping[str, bytes]) -> dict[str, bytes]:
        addresses = embedded_addresses(self._stack, self._instance)
        texts = {
            SUPERVISORD_CONF: render_supervisord(self._services),
            SERVICES_JSON: render_launcher(self._specs),
            CADDYFILE: render_caddyfile(self._stack, addresses, asgi_paths(), certificates),
        }
        locks = {path: asset_path(path).read_bytes() for path in LOCKS}
        identity = identity_files(self._instance.identity)
        return {path: text.encode() for path, text in texts.items()} | server_code() | locks | identity

    def recipe_digests(self, files: Mapping[str, RenderedFile]) -> dict[str, str]:
        ours = {path: file.content for path, file in files.items() if path not in CERTIFICATE_FILES}
        return digests(ours, comparable)

    def desired(self) -> Mapping[str, str]:
        found = fingerprints(self.files())
        return {spec.name: found[spec.name] for spec in self._services}

    def observe(self) -> Observed:
        memory = self._memory()
        client = self._connected(memory)
        infos = {}
        if client:
            try:
                infos = client.processes()
            except Unreachable:
                client = None
        by_name = {spec.name: spec for spec in self._long_running}
        known = {name: by_name.get(name, ProcessSpec(name, (), {})) for name in [*by_name, *memory.applied]}
        services = {
            name: self._supervision().observe(spec, infos.get(name), memory)
            for name, spec in known.items()
            if name != BOOTSTRAP
        }
        if services[SERVER].state == "running" and not listens(Path(memory.run) / SERVER_SOCKET):
            services[SERVER] = replace(
                services[SERVER], state="starting", detail=f"{services[SERVER].detail}, does not answer yet"
            )
        if BOOTSTRAP in memory.applied:
            services[BOOTSTRAP] = observed_bootstrap(memory, running=client is not None)
        return Observed(
            {name: seen for name, seen in services.items() if seen.state != "missing"}, self._has_data()
        )

    def usage(self) -> Mapping[str, Usage]:
        memory = self._memory()
        client = self._connected(memory)
        infos = client.processes() if client else {}
        return {
            spec.name: self._supervision().usage(spec, infos.get(spec.name), memory)
            for spec in self._long_running
            if infos
        }

    def prepare(self, reporter: Reporter) -> None:
        self._account = make_account(self._account, self._environment.data, reporter)
        make_environment(self._environment, self._account, reporter)

    def apply(self, plan: Plan, reporter: Reporter) -> None:
        before = self._memory()
        self._account = make_account(self._account, self._environment.data, reporter)
        secrets = [spec.name for spec in self._stack.secrets]
        directories.make_directories(self._directory, secrets, self._account)
        if not before.applied:
            self._tell_limits(reporter)
        with reporter.working("starting services"):
            client, memory = self._running_supervisor(before)
            if client is None:
                client, memory = self._start_supervisor(memory)
            run = partial(self._run, timeout=BOOTSTRAP_DEADLINE)
            Changes(
                self._stack, self._directory, self._long_running, self.desired(), client, run, reporter
            ).carry_out(plan, memory)
        report_done(plan, self._stack, reporter)

    def reload(self) -> None:
        if client := self._connected(self._memory()):
            client.signal(PROXY, "USR1")

    def probe(self, *arguments: str) -> str:
        argv = entrypoint_argv(self._environment.binaries, "probe", *arguments)
        return self._run(self._memory_of_a_running(), SERVER, argv).text

    def run_job(
        self, role: str, *arguments: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
    ) -> None:
        if self._instance.recipe:
            self._instance.recipe.whole(comparable, NEEDED)
        env = self._supervision().environment(Path(self._memory_of_a_running().run))
        binaries, identity = self._environment.binaries, self._account.identity
        argv = launcher_argv(binaries, SERVER, entrypoint_argv(binaries, role, *arguments))
        streams.transfer(argv, stdin=stdin, stdout=stdout, cwd=self._directory, env=env, identity=identity)

    def _memory_of_a_running(self) -> Memory:
        """Return what is known of the stack; raise Unhealthy when it is down."""
        memory = self._memory()
        if not memory.run_exists:
            raise Unhealthy(
                "the stack is down", where=str(self._directory), hint="`provision up` starts it", left_as=""
            )
        return memory

    def certificate_authority(self) -> bytes | None:
        return read_below(self._directory, f"{CADDY_HOME}/{ROOT_CERTIFICATE}")

    def logs(self, service: str, lines: int) -> str:
        return tail(self._log(service), lines)

    def follow(self, service: str | None, lines: int) -> int:
        names = [service] if service else [spec.name for spec in self._services]
        paths = [str(path) for path in map(self._log, names) if service or path.is_file()]
        # As the services, whose links lead no further than they can read themselves.
        argv = ["tail", "-n", str(lines), "-F", *paths]
        return process.attach(argv, identity=self._account.identity)

    def psql(self, arguments: Sequence[str], write: bool) -> int:
        # Beside the server that it belongs to; the environment names only what a stack runs.
        program = Path(self._environment.binaries.path("postgres")).resolve().parent / "psql"
        password = (read_below(self._directory, f"{SECRETS}/postgres_password") or b"").decode().strip()
        # What the user's shell says of other databases.
        env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        env |= {"PGPASSWORD": password, "PGOPTIONS": psql_options(write)}
        return process.attach(
            [str(program), "-h", self._memory().run, "-U", POSTGRES_USER, "-d", MLFLOW_DATABASE, *arguments],
            env=env,
        )

    def stop(self, reporter: Reporter) -> None:
        ended = self._stop(reporter)
        try:
            self._remember(ended)
        except ProvisionError as error:
            # The next `up` finds by itself that nothing runs.
            reporter.warn("memory", f"the services have ended, which could not be kept: {error.what}")

    def _stop(self, reporter: Reporter) -> Memory:
        memory = self._memory()
        running = [
            name
            for name, seen in self.observe().services.items()
            if seen.state in {"running", "starting", "unhealthy"}
        ]
        with reporter.working("stopping services"):
            ended = self._end(self._connected(memory), memory)
        for name in reversed(running):
            reporter.step("stopped", name)
        return ended

    def erase(self, reporter: Reporter) -> None:
        directories.refuse_links(self._directory)
        # What is remembered goes too: nothing is written on a disk that may be full.
        self._stop(reporter)
        for name in directories.remove_data(self._directory):
            reporter.step("removed", name)

    def _memory(self) -> Memory:
        return memory_here(self._directory, self._machine)

    def _supervision(self) -> Supervision:
        return Supervision(self._directory, self._account, self._environment.binaries)

    def _connected(self, memory: Memory) -> Supervisor | None:
        """Return supervisord, if it runs since this boot and answers; else None."""
        return None if memory.is_from_before(self._machine) else self._supervision().connect(memory)

    def _has_data(self) -> bool:
        artifacts = self._directory / ARTIFACTS
        return (self._directory / POSTGRES_DATA).is_dir() or (artifacts.is_dir() and any(artifacts.iterdir()))

    def _log(self, service: str) -> Path:
        return self._directory / LOGS / f"{service}.log"

    def _running_supervisor(self, memory: Memory) -> tuple[Supervisor | None, Memory]:
        """Return supervisord, if it answers and its programs are there; else end all that may be left."""
        client = self._connected(memory)
        # It may be of an older environment: what it starts is of the new one.
        if client and Path(memory.environment).is_dir():
            return client, memory
        ended = self._end(client, memory)
        self._remember(ended)
        return None, ended

    def _end(self, client: Supervisor | None, memory: Memory) -> Memory:
        """End everything that runs; return the memory, which still has what was applied."""
        if not memory.is_from_before(self._machine):
            self._supervision().end_all(client, self._long_running, memory)
        if memory.run:
            directories.remove_run_directory(Path(memory.run), self._account)
        return memory.with_(machine=None, supervisor=None, run="", environment="")

    def _remember(self, ended: Memory) -> None:
        if ended != self._memory():
            write_memory(self._directory, ended)

    def _start_supervisor(self, memory: Memory) -> tuple[Supervisor, Memory]:
        run = directories.make_run_directory(self._account)
        # Kept before the start, so that what an interrupted `up` leaves is found by the next.
        memory = memory.with_(machine=self._machine, run=str(run), environment=str(self._environment.path))
        write_memory(self._directory, memory)
        self._make_database(memory)
        client, process_id = self._supervision().start(run)
        memory = memory.with_(supervisor=process_id)
        write_memory(self._directory, memory)
        return client, memory

    def _make_database(self, memory: Memory) -> None:
        """Initialise a database directory where there is none.

        It is made aside and renamed, so that half of one is never taken for whole.
        """
        data = self._directory / POSTGRES_DATA
        if not self._stack.own_backend or data.exists():
            return
        directories.remove_tree(self._directory / POSTGRES_NEW)
        self._run(memory, INITDB)
        (self._directory / POSTGRES_NEW).rename(data)

    def _run(
        self, memory: Memory, name: str, argv: tuple[str, ...] = (), timeout: float = 120
    ) -> process.Completed:
        """Run a process of the stack beside supervisord, to its end."""
        return process.run(
            launcher_argv(self._environment.binaries, name, argv),
            cwd=self._directory,
            env=self._supervision().environment(Path(memory.run)),
            identity=self._account.identity,
            timeout=timeout,
        )

    def _tell_limits(self, reporter: Reporter) -> None:
        # For whatever directory that is typed in.
        again = f"provision up --stack {shlex.quote(str(self._directory))}"
        reporter.note(
            "reboot", f"this stack does not come back by itself after a reboot: `{again}` starts it again"
        )
        if not self._stack.login:
            reporter.note(
                "access",
                "everyone with an account on this machine can reach it (server.auth: basic asks for a login)",
            )


def embedded_runtime(stack: Stack, instance: Instance) -> EmbeddedRuntime:
    """Return the embedded runtime for whoever runs this, on this machine."""
    account = current_account()
    data = data_directory()
    build = stack.settings.build
    environment = ServerEnvironment(
        data,
        recipe_of(instance.recipe) if instance.recipe else shipped_recipe(),
        choose_interpreter(account, data),
        index_url=build.index_url or "",
        ca_file=instance.directory / build.ca_file if build.ca_file else None,
    )
    return EmbeddedRuntime(stack, instance, account=account, environment=environment, machine=this_machine())
