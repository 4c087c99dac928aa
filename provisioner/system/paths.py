"""Where the program keeps what is not in a project: stacks, server environments, state of links."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_directory() -> Path:
    """Return the base of default stacks and server environments.

    Root's is a place that the services' account can reach.
    """
    chosen = os.environ.get("PROVISION_DATA_DIR")
    if chosen:
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/provision")
    return platformdirs.user_data_path("provision")


def state_directory() -> Path:
    """Return the base of what is recorded about linked projects."""
    chosen = os.environ.get("PROVISION_STATE_DIR")
    return Path(chosen).absolute() if chosen else platformdirs.user_state_path("provision")
