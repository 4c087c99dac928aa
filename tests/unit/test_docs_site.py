"""The docs as pages: short where one begins, each reached by links, and built without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README_BYTES, CONTRIBUTING_BYTES = 6000, 5000


def test_the_first_texts_can_be_read_at_once() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES
    assert len((ROOT / "CONTRIBUTING.md").read_bytes()) <= CONTRIBUTING_BYTES


def test_every_page_is_reached_from_the_readme() -> None:
    reached, new = set[Path](), {ROOT / "README.md"}
    while new:
        reached |= new
        links = [
            (page, link)
            for page in new
            for link in re.findall(r"\]\(([^)\s#]+\.md)", page.read_text(encoding="utf-8"))
        ]
        new = {
            (page.parent / link).resolve() for page, link in links if not link.startswith("http")
        } - reached
    assert {path.resolve() for path in (ROOT / "docs").rglob("*.md")} <= reached


def built_docs(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """The build of `make docs`, which writes no pages."""
    argv = [
        sys.executable,
        "-m",
        "sphinx",
        "--quiet",
        "--fail-on-warning",
        "--keep-going",
        "-b",
        "dummy",
        str(source),
        str(target),
    ]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_docs_are_built_without_a_warning_and_a_dead_link_is_one(tmp_path: Path) -> None:
    assert built_docs(ROOT / "docs", tmp_path / "built").stderr == ""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with (tmp_path / "docs/how-to/tls.md").open("a") as page:
        page.write("[nowhere](logins.md#no-such-heading)\n")
    broken = built_docs(tmp_path / "docs", tmp_path / "broken")
    assert broken.returncode != 0
    assert "no-such-heading" in broken.stderr
