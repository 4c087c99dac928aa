"""The Docker runtime: `docker compose` in the stack directory, on any host."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import IO

from provisioner.assets import asgi_paths
from provisioner.errors import INTERRUPTED, CommandFailed, ProvisionError, Unhealthy
from provisioner.model.addresses import IN_CONTAINERS, Addresses
from provisioner.model.plan import Observed, Plan
from provisioner.model.proxy import redirect_port
from provisioner.model.stack import Stack
from provisioner.model.stores.base import RuntimeKind
from provisioner.model.stores.postgres import MLFLOW_DATABASE, POSTGRES_USER
from provisioner.output import Reporter
from provisioner.runtimes.base import (
    FIX,
    PROXY,
    SERVER,
    Instance,
    RenderedFile,
    Usage,
    check_processor,
    check_stores,
    for_memory,
    psql_options,
    report_done,
    see_log,
)
from provisioner.runtimes.caddyfile import CADDYFILE, identity_files, render_caddyfile, with_certificates
from provisioner.runtimes.docker import cli
from provisioner.runtimes.docker.changes import PROBE, Changes
from provisioner.runtimes.docker.compose_file import (
    BUILD_CA,
    render_compose,
    render_env,
    with_mounted,
    with_port,
)
from provisioner.runtimes.docker.engine import Engine
from provisioner.runtimes.docker.postgres import (
    INTERRUPT_PSQL,
    POSTGRES,
    PSQL,
    PSQL_UNSEEN,
    end_initialisation,
    set_unfinished_aside,
)
from provisioner.runtimes.docker.preflight import LABEL, check_api, check_label, refuses_threads
from provisioner.runtimes.docker.stack_images import StackImages
from provisioner.runtimes.docker.usage import read_usage
from provisioner.runtimes.recipe import Recipe, digests
from provisioner.runtimes.tls_files import CERTIFICATE_FILES, ROOT_CERTIFICATE, certificate_files
from provisioner.system.host import Host

COMPOSE_FILE = "docker-compose.yml"
OVERRIDE_FILE = "compose.override.yml"
ENV_FILE = ".env"
_NEEDED = (COMPOSE_FILE, ENV_FILE, CADDYFILE)
_STARTED = "what had started still runs; no data was removed"


class DockerRuntime:
    """Runs a stack with Docker Compose."""

    kind: RuntimeKind = "docker"

    def __init__(self, stack: Stack, instance: Instance, host: Host) -> None:
        self._stack = stack
        self._instance = instance
        self._host = host
        self._engine = Engine(instance, host)
        self._images = StackImages(stack, instance, host, self._engine, self._compose_text)

    def preflight(self) -> None:
        check_stores(self._stack)
        if not self._host.is_remote:
            cli.refuse_snap(_docker_path(), self._instance.directory)
            cli.refuse_remote(self._engine.endpoint())
        with ThreadPoolExecutor() as pool:
            engine = pool.submit(
                self._engine.docker, "version", "--format", "{{.Server.Version}} {{.Server.MinAPIVersion}}"
            )
            compose = pool.submit(self._engine.docker, "compose", "version", "--short")
            options = pool.submit(
                self._engine.docker, "info", "--format", "{{json .SecurityOptions}}", check=False
            )
            version, _, minimum_api = engine.result().text.partition(" ")
            cli.check_versions(version, compose.result().text)
            check_api(minimum_api, compose.result().text)
        if "name=selinux" in options.result().text:
            argv = ["/bin/sh", "-c", LABEL, "sh", str(self._instance.directory)]
            check_label(
                self._engine.run(argv, check=False, in_directory=False).text, self._instance.directory
            )
        check_processor(self._host)

    def files(self) -> Mapping[str, RenderedFile]:
        certificates = certificate_files(self._stack, self._instance.source)
        # The key is a secret of Docker's, which a container keeps as it was: certificate and key are read
        # together.
        mounted = certificates if self._stack.settings.server.tls == "files" else {}
        ours = (
            self._as_they_stand(self._instance.recipe, certificates, mounted)
            if self._instance.recipe
            else self._rendered(certificates, mounted)
        )
        return {path: RenderedFile(content) for path, content in {**ours, **certificates}.items()}

    def _rendered(self, certificates: Mapping[str, bytes], mounted: Mapping[str, bytes]) -> dict[str, bytes]:
        built_from = self._images.server_files()
        caddyfile = render_caddyfile(
            self._stack, _addresses(self._stack, self._instance.port), asgi_paths(), certificates
        )
        return {
            COMPOSE_FILE: render_compose(self._stack, built_from, mounted).encode(),
            ENV_FILE: render_env(self._instance.project, self._instance.port).encode(),
            CADDYFILE: caddyfile.encode(),
            # It is read when somebody asks: the proxy runs on.
            **identity_files(self._instance.identity),
            **built_from,
        }

    def _as_they_stand(
        self, recipe: Recipe, certificates: Mapping[str, bytes], mounted: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        """Return the recipe's files, with port, certificates and the digests of those as they are now."""
        files = recipe.whole(_comparable, _NEEDED)
        files[ENV_FILE] = with_port(files[ENV_FILE].decode(), self._instance.port).encode()
        files[CADDYFILE] = with_certificates(files[CADDYFILE].decode(), certificates).encode()
        files[COMPOSE_FILE] = with_mounted(files[COMPOSE_FILE].decode(), mounted).encode()
        return {**files, BUILD_CA: self._images.build_ca()}

    def recipe_digests(self, files: Mapping[str, RenderedFile]) -> dict[str, str]:
        users = {BUILD_CA, *CERTIFICATE_FILES}
        ours = {path: file.content for path, file in files.items() if path not in users}
        return digests(ours, _comparable)

    def _compose_text(self) -> bytes:
        return self.files()[COMPOSE_FILE].content

    def desired(self) -> Mapping[str, str]:
        override = self._instance.directory / OVERRIDE_FILE
        files = ["-", str(override)] if self._host.get(override) is not None else ["-"]
        where = ("--project-directory", str(self._instance.directory))
        argv = cli.compose(self._instance.project, *where, "config", "--hash", "*", files=files)
        done = self._engine.run(argv, stdin=self._compose_text(), in_directory=False)
        hashes = cli.parse_hashes(done.text)
        ours = [service.name for service in self._stack.services]
        return {name: hashes[name] for name in [*ours, *sorted(set(hashes) - set(ours))] if name in hashes}

    def observe(self) -> Observed:
        with ThreadPoolExecutor() as pool:
            containers = pool.submit(self._engine.containers)
            volumes = pool.submit(
                self._engine.run, cli.list_volumes(self._instance.project), in_directory=False
            )
            text = containers.result()
            services = cli.parse_containers(text)
            for name, network in self._half_made(text).items():
                services[name] = replace(
                    services[name], state="unhealthy", detail=f"is not in the network {network}"
                )
            proxy = services.get("proxy")
            if (
                proxy
                and proxy.state == "running"
                and self._host.get(self._instance.directory / CADDYFILE) is None
            ):
                # Its mount is the directory that was there: what is written in its place it sees when it is
                # started anew.
                services["proxy"] = replace(proxy, state="unhealthy", detail=f"{CADDYFILE} was removed")
            return Observed(services, bool(volumes.result().text))

    def _half_made(self, containers: str) -> dict[str, str]:
        found = cli.half_made(containers, self._instance.project, self._stack)
        # With an override the networks are the user's.
        return {} if found and self._host.get(self._instance.directory / OVERRIDE_FILE) is not None else found

    def usage(self) -> Mapping[str, Usage]:
        return read_usage(
            self._engine, self._instance.project, [service.name for service in self._stack.long_running]
        )

    def prepare(self, reporter: Reporter) -> None:
        # With an override the images are the user's.
        if self._host.get(self._instance.directory / OVERRIDE_FILE) is None:
            self._images.fetch(reporter)
        self.build(reporter)

    def build(self, reporter: Reporter) -> None:
        """Build the server image where it is not there; an image of the user's is looked at."""
        self._images.build(reporter)

    def server_image(self) -> str:
        """Return the reference of the server image."""
        return self._images.server()

    def images(self) -> list[str]:
        """Return the references of the images that the stack's services run."""
        return self._images.references()

    def apply(self, plan: Plan, reporter: Reporter) -> None:
        try:
            with reporter.working("starting services"):
                if self._instance.is_new and self._stack.own_backend:
                    observed = self.observe()
                    if observed.has_data:
                        set_unfinished_aside(self._engine, observed.services.get(POSTGRES), reporter)
                self._end_what_starts_anew(plan)
                Changes(self._stack, self._engine, self._host, reporter).carry_out(plan)
        except CommandFailed as failure:
            raise self._start_failure(failure) from failure
        report_done(plan, self._stack, reporter)

    def _end_what_starts_anew(self, plan: Plan) -> None:
        """Stop the containers that the plan starts anew, and remove those that were half made.

        Compose leaves a container alone that runs, even unhealthy or restarting over and over, or half made.
        """
        long_running = {service.name for service in self._stack.long_running}
        names = [step.subject for step in plan.steps if step.verb == "start" and step.subject in long_running]
        if not names:
            return
        if anew := [name for name in self._half_made(self._engine.containers()) if name in names]:
            self._engine.compose("rm", "--stop", "--force", *anew, timeout=300)
        self._engine.compose("stop", *names, timeout=300)

    def reload(self) -> None:
        self._engine.compose("kill", "--signal", "SIGUSR1", PROXY)

    def probe(self, *arguments: str) -> str:
        return self._engine.compose("exec", "-T", SERVER, *PROBE, *arguments).text

    def run_job(
        self, role: str, *arguments: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
    ) -> None:
        if self._instance.recipe:
            # Compose makes a new container of what the files say now.
            self._instance.recipe.whole(_comparable, _NEEDED)
        if SERVER not in self.observe().services:
            raise Unhealthy(
                "the stack is down",
                where=str(self._instance.directory),
                hint="`provision up` starts it",
                left_as="",
            )
        # A name that nothing else has: whoever ends the client of a container does not end the container.
        name = f"{self._instance.project}-job-{token_hex(4)}"
        try:
            self._engine.transfer(
                "run",
                "--rm",
                "--no-deps",
                "-T",
                "--name",
                name,
                SERVER,
                role,
                *arguments,
                stdin=stdin,
                stdout=stdout,
            )
        except BaseException:
            with suppress(ProvisionError):
                self._engine.docker("rm", "--force", name, check=False)
            raise

    def certificate_authority(self) -> bytes | None:
        path = f"/data/{ROOT_CERTIFICATE}"
        # Some bytes of it: the proxy decides what that is.
        found = self._engine.compose("exec", "-T", PROXY, "head", "-c", "1000000", path, check=False)
        return found.stdout if found.code == 0 else None

    def logs(self, service: str, lines: int) -> str:
        return self._engine.compose(
            "logs", "--no-color", "--no-log-prefix", "--tail", str(lines), service
        ).text

    def follow(self, service: str | None, lines: int) -> int:
        return self._engine.attach("logs", "-f", "--tail", str(lines), *([service] if service else []))

    def psql(self, arguments: Sequence[str], write: bool) -> int:
        options, script, mark = (
            (["-T"], PSQL_UNSEEN, token_hex(8)) if not sys.stdin.isatty() else ([], PSQL, "psql")
        )
        program = [
            "sh",
            "-c",
            script,
            mark,
            "-h",
            "/run/postgresql",
            "-U",
            POSTGRES_USER,
            "-d",
            MLFLOW_DATABASE,
            *arguments,
        ]
        code = self._engine.attach(
            "exec", *options, "-e", f"PGOPTIONS={psql_options(write)}", POSTGRES, *program
        )
        if code == INTERRUPTED and options:
            self._engine.compose("exec", "-T", POSTGRES, "sh", "-c", INTERRUPT_PSQL, mark, check=False)
        return code

    def stop(self, reporter: Reporter) -> None:
        running = self.observe().services
        with reporter.working("stopping services"):
            end_initialisation(self._engine, running.get(POSTGRES))
            self._engine.compose("down", "--remove-orphans", timeout=300, in_directory=False)
        for name in running:
            reporter.step("stopped", name)

    def erase(self, reporter: Reporter) -> None:
        volumes = self._engine.run(cli.list_volumes(self._instance.project), in_directory=False).text.split()
        with reporter.working("removing services and volumes"):
            end_initialisation(self._engine, self.observe().services.get(POSTGRES))
            self._engine.compose("down", "--remove-orphans", "--volumes", timeout=300, in_directory=False)
            left = self._engine.run(cli.list_volumes(self._instance.project), in_directory=False).text.split()
            if left:
                self._engine.run(["docker", "volume", "rm", *left], in_directory=False)
        for volume in volumes:
            reporter.step("removed", "volume", volume)

    def _start_failure(self, failure: CommandFailed) -> Exception:
        known = self._engine.explained(failure, _STARTED)
        if known is not failure:
            return known
        observed = self.observe().services
        seen = [observed[service.name] for service in self._stack.services if service.name in observed]
        # In start order: what waits for a service that failed is not the one to name.
        bad = next(
            (service for service in seen if service.state not in {"running", "starting", "completed"}), None
        )
        if bad is None:
            return failure.with_(hint=FIX)
        why = self.logs(bad.name, 20) or failure.why
        failed = (f"{bad.name} failed while starting", see_log(bad.name))
        if refuses_threads(
            self._engine.docker("version", "--format", "{{.Server.Version}}", check=False).text, why
        ):
            failed = (
                f"this Docker engine lets {bad.name} start no process or thread",
                "update Docker: 20.10.10 or later knows the call",
            )
        what, hint = for_memory(bad.name, self.usage().get(bad.name)) or failed
        return Unhealthy(
            what, where=f"service {bad.name}: {bad.detail}", why=why, hint=hint, left_as=_STARTED
        )


def _comparable(path: str, content: bytes) -> bytes:
    text = content.decode(errors="replace")
    if path == CADDYFILE:
        return with_certificates(text, {}).encode()
    if path == ENV_FILE:
        return with_port(text, 0).encode()
    return with_mounted(text, {}).encode() if path == COMPOSE_FILE else content


def _addresses(stack: Stack, port: int) -> Addresses:
    """Return the addresses in containers, with the one for redirects only where its port is published."""
    return (
        IN_CONTAINERS if redirect_port(stack.settings.server, port) else replace(IN_CONTAINERS, front_http="")
    )


def _docker_path() -> Path | None:
    found = shutil.which("docker")
    return Path(found) if found else None
