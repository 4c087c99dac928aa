"""The keys of the settings, written as in messages: `server.port`."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.model.settings import Group, Settings


def said(group: Group, before: str = "") -> dict[str, object]:
    """Return what the text says, by key as it is written in messages, whatever the defaults are."""
    found: dict[str, object] = {}
    for key in sorted(group.model_fields_set):
        value = getattr(group, key)
        if isinstance(value, Group):
            found |= said(value, f"{before}{key}.")
        else:
            found[before + key] = list(value) if isinstance(value, tuple) else value
    return found


def setting_names(group: type[Group] = Settings, before: str = "") -> Iterator[str]:
    """Yield every key as it is written in messages: `server.port`."""
    for key, info in group.model_fields.items():
        yield before + key
        if isinstance(info.annotation, type) and issubclass(info.annotation, Group):
            yield from setting_names(info.annotation, f"{before}{key}.")
