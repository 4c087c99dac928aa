"""Images for a server without a registry.

This machine's engine has or fetches them, and they travel over the same SSH connection.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from provisioner.output import Reporter, counted, size
from provisioner.runtimes.base import Instance
from provisioner.runtimes.docker import images
from provisioner.runtimes.docker.runtime import DockerRuntime
from provisioner.stack.context import StackContext
from provisioner.stack.directory import put_files
from provisioner.system.host import LocalHost
from provisioner.system.ssh import SSHHost


def ship_images(context: StackContext, host: SSHHost, reporter: Reporter) -> None:
    """Send the server's engine every image of the stack that it lacks."""
    target, here = context.with_state(runtime="docker"), LocalHost()
    platform = images.platform_of(host.facts["machine"])
    with tempfile.TemporaryDirectory(prefix="provision-build-") as folder:
        instance = Instance(Path(folder), target.project, 0, target.source, recipe=target.recipe)
        runtime = DockerRuntime(target.model, instance, here)
        server = runtime.server_image()
        missing = [reference for reference in runtime.images() if images.found(host, reference) is None]
        if not missing:
            reporter.step("unchanged", "images", "the server has them all")
            return
        if server in missing and images.found(here, server) is None and not context.settings.images.server:
            put_files(here, instance.directory, runtime.files())
            runtime.build(reporter)
    for reference in missing:
        seen = images.found(here, reference)
        if seen is None or (seen[0] != platform and reference != server):
            with reporter.working(f"fetching {reference}"):
                images.fetch(here, reference, platform)
            seen = images.found(here, reference)
        images.require(reference, seen, platform)
    with reporter.working(f"looking for layers of {counted(len(missing), 'image')} that the server has"):
        load = images.weigh(host, missing)
    there = f" of {size(load.whole)}; the server has the other layers" if load.left_out else ""
    with reporter.working(f"sending {counted(len(missing), 'image')}: {size(load.size)}{there}"):
        sent = images.send(
            host, load, lambda percent: reporter.line(f"{percent} % of {size(load.size)} sent")
        )
    for reference in missing:
        reporter.step("shipped", "image", reference)
    reporter.step(
        "shipped", "images", f"{size(sent)} over SSH ({size(load.size)} unpacked{there}), for {platform}"
    )
