"""The processes of an embedded stack, as the settings of a test want it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import build_stack
from provisioner.runtimes.base import Instance
from provisioner.runtimes.embedded.processes import Binaries, process_specs
from provisioner.runtimes.embedded.supervisord_conf import ProcessSpec

INSTANCE = Instance(Path("/stack"), "mlflow-abc123", 5001)
BINARIES = Binaries(Path("/env/bin"))


def embedded(
    text: str = "", directory: Path = INSTANCE.directory, binaries: Binaries = BINARIES
) -> dict[str, ProcessSpec]:
    """Every process by name."""
    stack = build_stack(parse_settings(text), "embedded")
    instance = replace(INSTANCE, directory=directory)
    return {spec.name: spec for spec in process_specs(stack, instance, binaries, 16_384)}
