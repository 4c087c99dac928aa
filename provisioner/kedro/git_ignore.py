"""Whether git would see a file with a password in it."""

from __future__ import annotations

from pathlib import Path

from provisioner.errors import CommandFailed, LinkRefused
from provisioner.kedro.project import KedroProject
from provisioner.system.process import run


def refuse_visible(project: KedroProject, path: Path) -> None:
    """Raise LinkRefused when git tracks the file, does not ignore it, or cannot be asked.

    Do nothing when the project is not in a git repository.
    """
    if not any((folder / ".git").exists() for folder in (project.path, *project.path.parents)):
        return
    name = project.shown(path)
    try:
        # Root works in repositories of others; no hook of theirs may run here.
        git = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-C", str(project.path)]
        code = run([*git, "check-ignore", "--quiet", "--", str(path)], check=False).code
        tracked = run([*git, "ls-files", "--error-unmatch", "--", str(path)], check=False).code == 0
    except CommandFailed as error:
        raise _refusal(
            name, f"git could not be asked: {error.what}", "install git, then link again"
        ) from error
    if tracked:
        raise _refusal(
            name, "git tracks the file", f"`git rm --cached {name}` and ignore it, then link again"
        )
    if code != 0:
        raise _refusal(name, "git does not ignore the file", f"add {name} to .gitignore, then link again")


def _refusal(name: str, why: str, hint: str) -> LinkRefused:
    return LinkRefused(f"a password would stand in {name}, where git sees it", where=name, why=why, hint=hint)
