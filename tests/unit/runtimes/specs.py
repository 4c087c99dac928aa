"""The processes of an embedded stack, as the settings of a test want it."""

from __future__ import annotations

from pathlib import Path

from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import build_stack
from provisioner.runtimes.base import Instance
from provisioner.runtimes.embedded.processes import Binaries, process_specs
from provisioner.runtimes.embedded.supervisord_conf import ProcessSpec

INSTANCE = Instance(Path("/stack"), "mlflow-abc123", 5001)
BINARIES = Binaries(Path("/env/bin"))


def embedded(text: str = "") -> dict[str, ProcessSpec]:
    """Every process by name."""
    stack = build_stack(parse_settings(text), "embedded")
    return {spec.name: spec for spec in process_specs(stack, INSTANCE, BINARIES, 16_384)}
