"""Terminal sessions and a picture in the docs; `make screens` makes them anew from the real program.

A session stands between its marks. It is stale when it says something else than the program does, but for
what differs from run to run and from machine to machine: times, sizes, ids, versions. The picture is stale
when it shows another MLflow or another demo project.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from provisioner import assets

DOCS = Path(__file__).parent
PICTURE, SHOWN = DOCS / "demo.png", DOCS / "demo.json"
_DEMO = DOCS.parent / "provisioner/demo_project"
PAGES = {
    "end of up": DOCS.parent / "README.md",
    "up": DOCS / "how-to/own-machine.md",
    "link": DOCS / "how-to/link-a-project.md",
    "status": DOCS / "how-to/look-after-a-stack.md",
    "deploy": DOCS / "how-to/team-server.md",
    "faulty settings": DOCS / "reference/settings.md",
}
_VOLATILE = (
    # Docker's words for how long: `About a minute`, `Less than a second`.
    (r"Up [A-Z0-9][^(,\n]*?(?=,| \(|$)", "Up TIME"),
    (r"Exited \(0\) .* ago", "Exited TIME"),
    (r"\b[0-9a-f]{8,}\b", "ID"),
    (r"\d+(\.\d+)*( [kMG]?B\b)?", "N"),
)


def in_page(screen: str) -> str:
    """Return the session as its page has it; raise ValueError unless it stands there once."""
    found = _marked(screen).findall(PAGES[screen].read_text(encoding="utf-8"))
    if len(found) != 1:
        raise ValueError(f"{PAGES[screen].name} has {len(found)} places for the screen of {screen}")
    return str(found[0])


def put_in_page(screen: str, session: str) -> None:
    """Write the session where its page has it, unless only volatile parts differ."""
    if stable(session) != stable(in_page(screen)):
        page = PAGES[screen]
        text = _marked(screen).sub(lambda _: session, page.read_text(encoding="utf-8"))
        page.write_text(text, encoding="utf-8")


def stable(session: str) -> str:
    """Return the session without what differs from run to run."""
    for pattern, word in _VOLATILE:
        session = re.sub(pattern, word, session, flags=re.MULTILINE)
    return session


def picture_is_of() -> dict[str, str]:
    """Return what a picture made now would show: MLflow's version and the demo project's SHA-256."""
    digest = hashlib.sha256()
    for path in sorted(_DEMO.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(_DEMO)} {len(content)}\0".encode() + content)
    return {"mlflow": assets.mlflow_version(), "demo project": digest.hexdigest()}


def picture_shows() -> dict[str, str]:
    """Return what the picture in the docs shows."""
    shown: dict[str, str] = json.loads(SHOWN.read_text(encoding="ascii"))
    return shown


def keep_picture(png: bytes) -> None:
    """Write the picture, with what it shows beside it."""
    PICTURE.write_bytes(png)
    SHOWN.write_text(json.dumps(picture_is_of(), indent=2) + "\n", encoding="ascii")


def _marked(screen: str) -> re.Pattern[str]:
    begin, end = f"<!-- screen of {screen} -->\n```text\n", "```\n<!-- end of screen -->"
    return re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
