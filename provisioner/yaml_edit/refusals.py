"""What makes an edit of a configuration file uncertain: each check raises EditRefused."""

from __future__ import annotations

from typing import Any

import yaml

from provisioner.errors import EditRefused
from provisioner.yaml_edit import nodes
from provisioner.yaml_edit.nodes import line_of, refused

# What opens a reference to another value.
INTERPOLATION = "${"
_FLAT_KEYS = ("mlflow_tracking_uri", "experiment", "run", "hooks", "credentials", "disable_tracking")


def refuse_flat(data: dict[str, Any], source: str, env: str) -> None:
    """Raise EditRefused for the flat form that kedro-mlflow had before 0.8.

    Its keys mean nothing today.
    """
    if "server" in data:
        return
    found = [key for key in _FLAT_KEYS if key in data]
    if found:
        raise EditRefused(
            f"{source} has the flat form of kedro-mlflow before 0.8",
            where=source,
            why=f"{', '.join(found)} at the top level; releases since 0.8 want `server:` with "
            "`mlflow_tracking_uri:` below it",
            hint=f"move {source} out of the configuration, run `kedro mlflow init --env {env}` and bring "
            "your values over, then link again",
            left_as="the file is untouched",
        )


def refuse_shared(node: yaml.Node, root: yaml.Node, source: str) -> None:
    """Raise EditRefused where an edit would change something else too, or be overruled."""
    if alias := getattr(node, "alias", None):
        raise refused(
            source,
            line_of(node),
            f"the value is an alias (*{alias})",
            "write the value itself, then link again",
        )
    anchor = getattr(node, "anchor", None)
    if anchor and any(getattr(other, "alias", None) == anchor for other in nodes.walk(root)):
        raise refused(
            source,
            line_of(node),
            f"the value is used elsewhere too (&{anchor})",
            "give that place a value of its own",
        )
    if isinstance(node, yaml.MappingNode):
        for name, _ in node.value:
            if name.tag == "tag:yaml.org,2002:merge":
                raise refused(
                    source,
                    line_of(name),
                    "a merge key (<<) fills that block",
                    "write its keys out, then link again",
                )


def refuse_interpolated(value: str, source: str) -> None:
    """Raise EditRefused for a new value to which Kedro gives a meaning of its own."""
    if INTERPOLATION in value or value == "???":
        raise refused(
            source,
            0,
            "the new value holds `${` or is `???`, to which Kedro gives a meaning",
            "choose another value",
        )
