"""`state.json`: what was applied to a stack; no secret in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.model.service import Service, service_from
from provisioner.model.stores.base import RuntimeKind
from provisioner.model.typed import check_types, types_of

FORMAT = 1
_TUPLES = ("secrets", "worked")
# They become names of containers and files, and numbers that are compared.
_FORMS = {
    "project": re.compile(r"([a-z0-9][a-z0-9_-]{0,62})?"),
    "mlflow": re.compile(r"[0-9A-Za-z.+!_-]{0,64}"),
    "made_by": re.compile(r"[0-9A-Za-z.+!_-]{0,64}"),
    "identity": re.compile(r"[0-9A-Za-z_-]{0,64}"),
}
# More files than any release renders.
_MOST_FILES = 2000
_DIGEST = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class State:
    """What a stack was made with; kept, so that no newer program or other setting moves it unasked."""

    project: str = ""
    runtime: RuntimeKind | None = None
    port: int | None = None
    mlflow: str = ""
    """The version of MLflow that it runs."""
    artifacts: str = ""
    secrets: tuple[str, ...] = ()
    made_by: str = ""
    """The version of this program whose rendered files are in the directory."""
    identity: str = ""
    """What the stack's proxy tells who asks which stack it is; no secret."""
    directory: str = ""
    """Where it was when `up` last went through it: another place is a move, or a copy."""
    checked: dict[str, str] = field(default_factory=dict)
    """The fingerprints with which the full checks passed."""
    worked: tuple[str, ...] = ()
    """The secrets of the user's own with which the full checks passed."""
    settings: dict[str, object] | None = None
    """What `provision.yml` said when the files were rendered, by key; None where that was not kept."""
    services: tuple[Service, ...] = ()
    """The services that were rendered."""
    recipe: Mapping[str, str] = field(default_factory=dict)
    """The digest of every rendered file by path, but of those that are the user's."""
    recipe_fault: str = ""
    """Why the file's recipe cannot be used, which is then empty here. What a recipe is not needed for, such
    as to end the stack, goes on; never written."""

    def with_(self, **changes: object) -> State:
        """Return a copy with these values."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def text(self) -> bytes:
        """Return the file's content."""
        values = {"format": FORMAT, **asdict(self)}
        del values["recipe_fault"]
        return (json.dumps(values, indent=2) + "\n").encode()


def _state(data: dict[str, Any]) -> State:
    """Return the state of the file's keys; raise TypeError or ValueError where one holds something else."""
    # A recipe that is not usable is no reason to leave a stack running.
    check_types(
        data, {key: kind for key, kind in types_of(State).items() if key not in {"recipe", "services"}}
    )
    for key, form in _FORMS.items():
        if not form.fullmatch(data.get(key, "")):
            raise ValueError(f"{key} is {data[key][:80]!r}")
    if data.get("port") is not None and not 0 < data["port"] < 1 << 16:
        raise ValueError(f"port is {data['port']}")
    check_types(data, {"services": tuple[dict[str, object], ...]})
    values: dict[str, Any] = {key: tuple(data.get(key, ())) for key in _TUPLES}
    values["services"] = tuple(map(service_from, data.get("services", ())))
    values["recipe"], values["recipe_fault"] = _recipe(data.get("recipe", {}))
    if "recipe_fault" in data:
        raise TypeError("recipe_fault is no key of it")
    return State(**data | values)


def _recipe(data: object) -> tuple[dict[str, str], str]:
    """Return the digests by path, or none and what is wrong with them."""
    if not isinstance(data, dict) or len(data) > _MOST_FILES:
        return {}, f"recipe is no mapping of at most {_MOST_FILES} paths"
    for path, digest in data.items():
        if fault := path_fault(path):
            return {}, f"recipe has the path {path[:200]!r}, which {fault}"
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            return {}, f"recipe has no digest of {path}"
    return data, ""


def path_fault(path: str) -> str:
    """Return what keeps a text from being the plain path of a file below a directory; "" where nothing does.

    What is read and written by such a path stays in the directory, links aside.
    """
    if path.startswith("/"):
        return "is absolute"
    if not path.isprintable():
        return "has a character that nobody sees"
    if any(part in {"", ".", ".."} for part in path.split("/")):
        return "has a part that is empty, `.` or `..`"
    return "is too long" if len(path.encode(errors="surrogatepass")) > 1000 else ""


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
            return _state(data)
        why = f"format {made_with}, this program knows {FORMAT}"
    except RecursionError:
        why = "it is nested too deeply"
    except (ValueError, TypeError, KeyError) as error:
        why = str(error)
    raise ProvisionError(
        "state.json cannot be understood",
        where=place,
        why=why,
        hint="use the version of provision that made it, or restore the file from a backup",
    )
