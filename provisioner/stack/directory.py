"""A stack directory's files: what is there of those rendered, written whole, and never over another's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from provisioner.errors import PreflightError, WouldLoseData
from provisioner.model.settings import SOURCE
from provisioner.model.state import path_fault
from provisioner.model.stores.base import RuntimeKind
from provisioner.runtimes.base import RenderedFile
from provisioner.stack.context import StackContext
from provisioner.system.files import file_mode
from provisioner.system.host import Host, refuse_link

COMPOSE_FILE = "docker-compose.yml"
# Compose takes these, where they are, in place of ours.
PREFERRED_COMPOSE_FILES = ("compose.yaml", "compose.yml")
MARK = b"# Made by `provision`"
GITIGNORE = (
    b"# Made by `provision`: what must not be committed.\n"
    b"secrets/\ndata/\nlogs/\nstate.json\n.env\n.lock\nca.crt\n"
)


def changed_files(context: StackContext, files: Mapping[str, RenderedFile]) -> dict[str, RenderedFile]:
    """Return the rendered files that the directory lacks or has otherwise; on a server also the settings."""
    if context.here:
        files = {**files, SOURCE: RenderedFile(context.own_file(SOURCE) or b"")}
    there = context.host.read([context.directory / path for path in files])
    return {path: file for path, file in files.items() if there[context.directory / path] != file.content}


def closed_files(context: StackContext, files: Mapping[str, RenderedFile]) -> dict[str, RenderedFile]:
    """Return the rendered files that other users, such as a container's, cannot read.

    The cause is the mode of the file or of a directory above it; on a server there are none. Raise
    PreflightError where such a directory is a link: what it leads to is not ours to open.
    """
    if context.host.is_remote:
        # There they are made by a shell of ours, with a umask of ours.
        return {}
    return {
        path: file for path, file in files.items() if not _is_open(context.directory, Path(path), file.mode)
    }


def _is_open(directory: Path, path: Path, mode_of_file: int) -> bool:
    folders = _folders(path)
    for folder in folders:
        refuse_link(directory / folder)
    wanted = {path: mode_of_file & 0o004} | dict.fromkeys(folders, 0o005)
    modes = {part: file_mode(directory / part) for part in wanted}
    return all(mode is None or mode & wanted[part] == wanted[part] for part, mode in modes.items())


def _folders(path: Path) -> list[Path]:
    """Return the directories above a file, below the stack's own, outermost first."""
    if fault := path_fault(str(path)):
        raise PreflightError(
            f"{path} {fault}",
            why="it is no path of a file in a stack's directory",
            hint="restore state.json from a backup",
        )
    return list(reversed(path.parents))[1:]


def write_files(context: StackContext, files: Mapping[str, RenderedFile]) -> None:
    """Write the files into the stack directory, each whole; call `refuse_others_files` first."""
    put_files(context.host, context.directory, files)
    if context.host.get(context.directory / ".gitignore") is None:
        context.host.put(GITIGNORE, context.directory / ".gitignore", 0o644)


def put_files(host: Host, directory: Path, files: Mapping[str, RenderedFile]) -> None:
    """Write the files below the directory, for other users to read as well.

    A container reads them, or an image is built from them.
    """
    for folder in dict.fromkeys(folder for path in files for folder in _folders(Path(path))):
        host.make_directory(directory / folder, 0o755)
    for path, file in files.items():
        host.put(file.content, directory / path, file.mode)


def refuse_others_files(context: StackContext, files: Mapping[str, RenderedFile], kind: RuntimeKind) -> None:
    """Raise WouldLoseData for another's file where one of ours goes, or that Compose would take for ours."""
    looked_at = context.host.read(
        [context.directory / path for path in {*PREFERRED_COMPOSE_FILES, COMPOSE_FILE, ".gitignore", *files}]
    )
    if kind == "docker":
        for name in PREFERRED_COMPOSE_FILES:
            if looked_at[context.directory / name] is not None:
                raise _others_file(context, name)
    # An erased stack has left these two: one of them on each runtime.
    left = [looked_at[context.directory / name] or b"" for name in (COMPOSE_FILE, ".gitignore")]
    if context.state.project or any(content.startswith(MARK) for content in left):
        return
    for path, file in files.items():
        there = looked_at[context.directory / path]
        if there is not None and there != file.content and not there.startswith(MARK):
            raise _others_file(context, path)


def _others_file(context: StackContext, path: str) -> WouldLoseData:
    return WouldLoseData(
        f"{path} is there and was not made by provision",
        where=f"{context.location}/{path}",
        hint="give the stack a directory of its own: `provision init --stack ./mlflow-stack`",
    )
