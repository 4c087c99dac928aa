"""The Docker runtime: `docker compose` in the stack directory, on any host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from provisioner.assets import asgi_paths, image_files
from provisioner.errors import UNCHANGED, CommandFailed, PreflightError, ProvisionError, Unhealthy
from provisioner.model.front_door import redirect_port
from provisioner.model.plan import Observed, Plan
from provisioner.model.stack import RuntimeKind, Stack
from provisioner.model.stores import IN_CONTAINERS, Addresses
from provisioner.output import Reporter
from provisioner.render.caddyfile import identity_files, render_caddyfile
from provisioner.render.compose import BUILD_CA, CADDYFILE, render_compose, render_env, server_image
from provisioner.runtimes import docker_cli as cli
from provisioner.runtimes.base import Place, RenderedFile, report_done
from provisioner.runtimes.certificates import ROOT_CERTIFICATE, certificate_files
from provisioner.system.host import Host, LocalHost
from provisioner.system.process import Completed

COMPOSE_FILE = "docker-compose.yml"
OVERRIDE_FILE = "compose.override.yml"
_STARTED = "what had started still runs; no data was removed"


class DockerRuntime:
    """Runs a stack with Docker Compose."""

    kind: RuntimeKind = "docker"

    def __init__(self, stack: Stack, place: Place, host: Host) -> None:
        self._stack = stack
        self._place = place
        self._host = host

    def preflight(self) -> None:
        if not self._host.name:
            cli.refuse_snap(_docker_path(), self._place.directory)
            cli.refuse_remote(self._endpoint())
        with ThreadPoolExecutor() as pool:
            engine = pool.submit(self._docker, ["docker", "version", "--format", "{{.Server.Version}}"])
            compose = pool.submit(self._docker, ["docker", "compose", "version", "--short"])
            cli.check_versions(engine.result().text, compose.result().text)

    def files(self) -> Mapping[str, RenderedFile]:
        built_from = self._image_files()
        caddyfile = render_caddyfile(self._stack, _front_door(self._stack, self._place.port), asgi_paths()).encode()
        front_door = {CADDYFILE: caddyfile, **certificate_files(self._stack, self._place.source)}
        texts = {
            COMPOSE_FILE: render_compose(self._stack, built_from, front_door).encode(),
            ".env": render_env(self._place.project, self._place.port).encode(),
            **front_door,
            # It is read when somebody asks: the front door runs on.
            **identity_files(self._place.identity),
            **built_from,
        }
        return {path: RenderedFile(content) for path, content in texts.items()}

    def wanted(self) -> Mapping[str, str]:
        override = self._place.directory / OVERRIDE_FILE
        files = ["-", str(override)] if self._host.get(override) is not None else ["-"]
        argv = cli.compose(self._place.project, "--project-directory", str(self._place.directory), "config", "--hash", "*", files=files)
        text = self.files()[COMPOSE_FILE].content
        hashes = cli.parse_hashes(self._docker(argv, stdin=text, in_directory=False).text)
        ours = [service.name for service in self._stack.services]
        return {name: hashes[name] for name in [*ours, *sorted(set(hashes) - set(ours))] if name in hashes}

    def observe(self) -> Observed:
        with ThreadPoolExecutor() as pool:
            containers = pool.submit(self._docker, cli.list_containers(self._place.project), in_directory=False)
            volumes = pool.submit(self._docker, cli.list_volumes(self._place.project), in_directory=False)
            text = containers.result().text
            services = cli.parse_containers(text)
            for name, network in self._half_made(text).items():
                services[name] = replace(services[name], state="ill", detail=f"is not in the network {network}")
            if "proxy" in services and services["proxy"].state == "running" and self._host.get(self._place.directory / CADDYFILE) is None:
                # Its mount is the directory that was there: what is written in its place it sees when it is started anew.
                services["proxy"] = replace(services["proxy"], state="ill", detail=f"{CADDYFILE} was removed")
            return Observed(services, bool(volumes.result().text))

    def _half_made(self, containers: str) -> dict[str, str]:
        found = cli.half_made(containers, self._place.project, self._stack)
        # With an override the networks are the user's.
        return {} if found and self._host.get(self._place.directory / OVERRIDE_FILE) is not None else found

    def prepare(self, reporter: Reporter) -> None:
        image = self.server_image()
        if self._docker(["docker", "image", "inspect", "--format", "{{.Id}}", image], check=False).code == 0:
            if self._stack.settings.images.server:
                self._refuse_other_image(image)
            return
        if self._stack.settings.images.server:
            return
        try:
            with reporter.working(f"building the server image {image}"):
                self._host.stream(self._plain("build", self._builder()), reporter.line, **self._at_home())
        except CommandFailed as failure:
            failure.hint = "mend what the last lines say, then run `provision up` again"
            raise self._explained(failure) from None
        reporter.step("built", "image", image)

    def _refuse_other_image(self, image: str) -> None:
        """PreflightError for an image of the user's that is no server image: found before it takes the place of one that runs."""
        seen = self._docker(cli.try_server_image(image), check=False, timeout=120, in_directory=False)
        if seen.code:
            raise PreflightError(
                "images.server is no image of this stack's server",
                where=image,
                why=seen.error_text or seen.text,
                hint="build it from the Dockerfile in the stack's directory, or leave images.server out",
            )

    def apply(self, plan: Plan, reporter: Reporter) -> None:
        try:
            with reporter.working("starting services"):
                self._end_what_starts_anew(plan)
                argv = self._plain("up", "-d", "--no-build", *cli.touched_by(plan, self._stack))
                self._host.stream(argv, cli.only_pulls(reporter.line), **self._at_home())
        except CommandFailed as failure:
            raise self._start_failure(failure) from None
        report_done(plan, self._stack, reporter)

    def _end_what_starts_anew(self, plan: Plan) -> None:
        """Compose leaves a container alone that runs, be it ill or restarting over and over, and one that was half made."""
        lasting = {service.name for service in self._stack.lasting}
        names = [step.subject for step in plan.steps if step.verb == "start" and step.subject in lasting]
        if not names:
            return
        containers = self._docker(cli.list_containers(self._place.project), in_directory=False).text
        anew = [name for name in self._half_made(containers) if name in names]
        if anew:
            self._docker(cli.compose(self._place.project, "rm", "--stop", "--force", *anew), timeout=300)
        self._docker(cli.compose(self._place.project, "stop", *names), timeout=300)

    def probe(self, *arguments: str) -> str:
        program = ("/opt/venv/bin/python", "/opt/provision/entrypoint.py", "probe")
        return self._docker(cli.compose(self._place.project, "exec", "-T", "mlflow", *program, *arguments)).text

    def certificate_authority(self) -> bytes | None:
        argv = cli.compose(self._place.project, "exec", "-T", "proxy", "cat", f"/data/{ROOT_CERTIFICATE}")
        found = self._docker(argv, check=False)
        return found.stdout if found.code == 0 else None

    def logs(self, service: str, lines: int) -> str:
        argv = cli.compose(self._place.project, "logs", "--no-color", "--no-log-prefix", "--tail", str(lines), service)
        return self._docker(argv).text

    def follow(self, service: str | None, lines: int) -> int:
        argv = cli.compose(self._place.project, "logs", "-f", "--tail", str(lines), *([service] if service else []))
        return self._host.attach(argv, **self._at_home())

    def stop(self, reporter: Reporter) -> None:
        running = self.observe().services
        with reporter.working("stopping services"):
            self._docker(cli.compose(self._place.project, "down", "--remove-orphans"), timeout=300, in_directory=False)
        for name in running:
            reporter.step("stopped", name)

    def erase(self, reporter: Reporter) -> None:
        volumes = self._docker(cli.list_volumes(self._place.project), in_directory=False).text.split()
        with reporter.working("removing services and volumes"):
            argv = cli.compose(self._place.project, "down", "--remove-orphans", "--volumes")
            self._docker(argv, timeout=300, in_directory=False)
            left = self._docker(cli.list_volumes(self._place.project), in_directory=False).text.split()
            if left:
                self._docker(["docker", "volume", "rm", *left], in_directory=False)
        for volume in volumes:
            reporter.step("removed", "volume", volume)

    def _image_files(self) -> dict[str, bytes]:
        """What the image is built from; the certificates are the user's, or an empty file for the Dockerfile to copy."""
        named = self._stack.settings.build.ca_file
        if not named:
            return image_files() | {BUILD_CA: b""}
        certificates = LocalHost().get(self._place.source / named)
        if certificates is None:
            raise PreflightError("build.ca_file is not there", where=str(self._place.source / named), hint="put the PEM file there")
        return image_files() | {BUILD_CA: certificates}

    def server_image(self) -> str:
        """The reference of the server image."""
        return server_image(self._stack.settings, self._image_files())

    def _builder(self) -> str:
        return next(service.name for service in self._stack.services if service.image == "server")

    def _start_failure(self, failure: CommandFailed) -> Exception:
        known = self._explained(failure, _STARTED)
        if known is not failure:
            return known
        observed = self.observe().services
        seen = [observed[service.name] for service in self._stack.services if service.name in observed]
        # In start order: what waits for a service that failed is not the one to name.
        bad = next((service for service in seen if service.state not in {"running", "starting", "done"}), None)
        if bad is None:
            failure.hint = "mend what the last lines say, then run `provision up` again"
            return failure
        return Unhealthy(
            f"{bad.name} failed while starting",
            where=f"service {bad.name}: {bad.detail}",
            why=self.logs(bad.name, 20) or failure.why,
            hint=f"mend what the last lines say, then run `provision up` again; `provision logs {bad.name}` shows more",
            left_as=_STARTED,
        )

    def _explained(self, failure: CommandFailed, left_as: str = UNCHANGED) -> ProvisionError:
        error = cli.explained(failure, left_as)
        if self._host.name:
            error.hint = error.hint.replace(cli.OR_EMBEDDED, "")
        return error

    def _endpoint(self) -> str:
        """The engine's address, asked only when something points away from the default."""
        if host := os.environ.get("DOCKER_HOST"):
            return host
        config = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
        if os.environ.get("DOCKER_CONTEXT") or cli.current_context(self._host.get(config)) not in {"", "default"}:
            return self._docker(["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]).text
        return ""

    def _environment(self) -> dict[str, str]:
        """The user's environment without what would change a stack behind its settings."""
        kept = {key: value for key, value in self._host.environment().items() if not key.startswith(("COMPOSE_", "PROVISION_"))}
        return kept | {"PROVISION_PORT": str(self._place.port)}

    def _docker(
        self, argv: list[str], *, stdin: bytes = b"", timeout: float = 60, check: bool = True, in_directory: bool = True
    ) -> Completed:
        directory = self._place.directory
        cwd = directory if in_directory and self._host.has_directory(directory) else None
        try:
            return self._host.run(argv, cwd=cwd, env=self._environment(), stdin=stdin, timeout=timeout, check=check)
        except CommandFailed as failure:
            raise self._explained(failure) from None

    def _plain(self, *arguments: str) -> list[str]:
        """The argv of a long command whose progress is read line by line."""
        return cli.compose(self._place.project, *arguments, progress="plain")

    def _at_home(self) -> _AtHome:
        return {"cwd": self._place.directory, "env": self._environment()}


def _front_door(stack: Stack, port: int) -> Addresses:
    """The addresses in containers, with the one for redirects only where its port is published."""
    return IN_CONTAINERS if redirect_port(stack.settings.server, port) else replace(IN_CONTAINERS, front_http="")


class _AtHome(TypedDict):
    cwd: Path
    env: dict[str, str]


def _docker_path() -> Path | None:
    found = shutil.which("docker")
    return Path(found) if found else None
