"""`state.json`: what was applied to a stack; no secret in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace

from provisioner.errors import ProvisionError
from provisioner.model.stores.base import RuntimeKind

FORMAT = 1


@dataclass(frozen=True)
class State:
    """What a stack was made with; kept, so that no newer program or other setting moves it unasked."""

    project: str = ""
    runtime: RuntimeKind | None = None
    port: int | None = None
    mlflow: str = ""
    artifacts: str = ""
    secrets: tuple[str, ...] = ()
    made_by: str = ""
    identity: str = ""
    """What the stack's proxy tells who asks which stack it is; no secret."""
    checked: dict[str, str] = field(default_factory=dict)
    """The fingerprints with which the full checks passed."""
    worked: tuple[str, ...] = ()
    """The secrets of the user's own with which the full checks passed."""

    def with_(self, **changes: object) -> State:
        """Return a copy with these values."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def text(self) -> bytes:
        """Return the file's content."""
        return (json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n").encode()


def parse_state(content: bytes | None, place: str) -> State:
    """Return the state that the file holds; the empty one when there is no file.

    Raise ProvisionError when it cannot be understood.
    """
    if content is None:
        return State()
    try:
        data = json.loads(content)
        if not isinstance(data, dict):
            raise TypeError("it is no mapping of keys")
        made_with = data.pop("format")
        if made_with == FORMAT:
            return State(**data | {key: tuple(data.get(key, ())) for key in ("secrets", "worked")})
        why = f"format {made_with}, this program knows {FORMAT}"
    except (ValueError, TypeError, KeyError) as error:
        why = str(error)
    raise ProvisionError(
        "state.json cannot be understood",
        where=place,
        why=why,
        hint="use the version of provision that made it, or restore the file from a backup",
    )
