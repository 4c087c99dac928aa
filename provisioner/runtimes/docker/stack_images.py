"""The images that a stack's services run: fetched where they are missing, the server's own built."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import yaml

from provisioner.assets import image_files
from provisioner.errors import UNCHANGED, CommandFailed, PreflightError
from provisioner.model.stack import Stack
from provisioner.output import Reporter
from provisioner.runtimes.base import FIX, Instance
from provisioner.runtimes.docker import cli, images
from provisioner.runtimes.docker.compose_file import BUILD_CA
from provisioner.runtimes.docker.engine import Engine
from provisioner.system.host import Host, LocalHost


class StackImages:
    """The images of one stack in the engine of its host."""

    def __init__(
        self, stack: Stack, instance: Instance, host: Host, engine: Engine, compose: Callable[[], bytes]
    ) -> None:
        self._stack = stack
        self._instance = instance
        self._host = host
        self._engine = engine
        self._compose = compose

    @cached_property
    def _services(self) -> dict[str, Any]:
        """Return the services of `docker-compose.yml`, which names the images."""
        services: dict[str, Any] = yaml.safe_load(self._compose())["services"]
        return services

    def server_files(self) -> dict[str, bytes]:
        """Return what the server image of this release is built from."""
        return image_files() | {BUILD_CA: self.build_ca()}

    def build_ca(self) -> bytes:
        """Return the certificates to trust while the image is built: the user's, or none.

        Raise PreflightError when the user's are not there.
        """
        named = self._stack.settings.build.ca_file
        if not named:
            return b""
        certificates = LocalHost().get(self._instance.source / named)
        if certificates is None:
            raise PreflightError(
                "build.ca_file is not there",
                where=str(self._instance.source / named),
                hint="put the PEM file there",
            )
        return certificates

    def server(self) -> str:
        """Return the reference of the server image."""
        own = self._stack.settings.images.server
        return own or str(self._services[self._builder()]["image"])

    def references(self) -> list[str]:
        """Return the references of the images that the stack's services run."""
        return sorted({str(service["image"]) for service in self._services.values()})

    def fetch(self, reporter: Reporter) -> None:
        """Fetch what Compose would fetch, one by one, so that a failure names its image."""
        built = "" if self._stack.settings.images.server else self.server()
        for image in self.references():
            if image != built:
                self._fetch_one(image, reporter)

    def build(self, reporter: Reporter) -> None:
        """Build the server image where it is not there; an image of the user's is looked at."""
        image = self.server()
        if self._stack.settings.images.server:
            if images.found(self._host, image):
                self._refuse_other_image(image)
            return
        if images.found(self._host, image):
            return
        self._fetch_one(self._services[self._builder()]["build"]["args"]["PYTHON_IMAGE"], reporter)
        try:
            with reporter.working(f"building the server image {image}"):
                self._engine.stream(_steps(reporter), "build", self._builder())
        except CommandFailed as failure:
            raise self._engine.explained(failure.with_(hint=FIX, left_as=UNCHANGED)) from failure
        reporter.step("built", "image", image)

    def _fetch_one(self, image: str, reporter: Reporter) -> None:
        if images.found(self._host, image):
            return
        with reporter.working(f"fetching the image {image}"):
            images.fetch(self._host, image)
        reporter.step("fetched", "image", image)

    def _refuse_other_image(self, image: str) -> None:
        """Raise PreflightError for an image of the user's that is no server image.

        It is found before it takes the place of one that runs.
        """
        seen = self._engine.run(cli.try_server_image(image), check=False, timeout=120, in_directory=False)
        if seen.code:
            raise PreflightError(
                "images.server is no image of this stack's server",
                where=image,
                why=seen.error_text or seen.text,
                hint="build it from the Dockerfile in the stack's directory, or leave images.server out",
            )

    def _builder(self) -> str:
        return next(name for name, service in self._services.items() if "build" in service)


def _steps(reporter: Reporter) -> Callable[[str], None]:
    """Return a function that shows each step of a build once, of all the lines that a build writes."""
    shown: set[str] = set()

    def line(text: str) -> None:
        if (step := cli.build_step(text)) and step not in shown:
            shown.add(step)
            reporter.line(f"step {step}")

    return line
