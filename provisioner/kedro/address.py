"""The address of a tracking server: its form, and what in this shell keeps a run from it."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from provisioner.errors import LinkRefused
from provisioner.model.login import LOGIN
from provisioner.system.proxies import swallowing_proxy


def checked_uri(uri: str) -> str:
    """Return the URI without slashes at its end.

    Raise LinkRefused when kedro-mlflow would take it for a path, or it holds a login.
    """
    parts = urlsplit(uri.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LinkRefused(
            f"{uri!r} is no address of a tracking server",
            why="without http:// or https:// kedro-mlflow takes it for a folder of the project",
            hint=f"write it as http://{uri.strip().rpartition('//')[2]}",
        )
    if parts.username or parts.password:
        raise LinkRefused(
            "the URI holds a login",
            where=f"{parts.scheme}://****@{parts.hostname}",
            why="mlflow.yml is often committed; the login belongs into credentials.yml",
            hint="give the URI without the login",
        )
    return uri.strip().rstrip("/")


def warnings_of_environment(uri: str, *, has_login: bool, has_proxy: bool = True) -> list[tuple[str, str]]:
    """Return what in this shell keeps a run from the server, or sends it a foreign login.

    Look at its proxies only with `has_proxy`: else they are looked at elsewhere.
    """
    proxy = swallowing_proxy(uri) if has_proxy else None
    found = [("proxy", "; ".join(proxy))] if proxy else []
    if not has_login and (names := [name for name in sorted(LOGIN) if os.environ.get(name)]):
        why = f"MLflow's client sends it to every server, and to {uri}, which it was not made for; unset it"
        found.append(("login", f"this shell has one in {', '.join(names)}: {why}"))
    return found
