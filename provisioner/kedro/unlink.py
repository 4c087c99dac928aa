"""Give a linked project's files back."""

from __future__ import annotations

from pathlib import Path

from provisioner.kedro.link_report import LinkReport
from provisioner.kedro.project import KedroProject, find_project
from provisioner.kedro.record import (
    FileRecord,
    digest,
    first_bytes,
    forget,
    holding,
    load_record,
    record_folder,
    used_elsewhere,
)
from provisioner.kedro.staged_edits import is_yaml, without_owned
from provisioner.output import Reporter
from provisioner.system.files import read_file, remove_empty_folder, remove_file, replace_file

_Restored = tuple[Path, "bytes | None", FileRecord, "list[str] | None"]


def unlink(project: Path, reporter: Reporter) -> LinkReport:
    """Restore the project's files as they were before the first link.

    Where somebody else changed one, take only our values out.
    """
    found = find_project(project)
    folder = record_folder(found.path)
    if load_record(folder) is None:
        reporter.step("unchanged", "link", f"{found.path} was not linked from this account")
        return LinkReport(found.path, "", "")
    with holding(folder, "unlink"):
        record = load_record(folder)
        if record is None:
            return LinkReport(found.path, "", "")
        # Decide for every file before the first is written.
        shared = [file for file in record.files if used_elsewhere(found.path, file)]
        restored = [_restored(found, folder, file) for file in record.files if file not in shared]
        for file in shared:
            reporter.step("kept", file.path, "another linked project uses it")
        changed = [
            file.path
            for path, content, file, kept in restored
            if _give_back(path, content, file, kept, reporter)
        ]
        for name in sorted(record.folders, key=len, reverse=True):
            if remove_empty_folder(found.path / name):
                reporter.step("removed", name, "the folder was made by link")
        forget(folder)
    return LinkReport(found.path, record.uri, record.env, tuple(changed))


def _restored(project: KedroProject, folder: Path, file: FileRecord) -> _Restored:
    """Return the file's content after unlink, and what was kept because somebody changed it.

    The latter is None when the file is as we left it, as it first was, or gone.
    """
    path = project.path / file.path
    now, first = read_file(path), first_bytes(folder, file)
    if now is None or now == first:
        return path, now, file, None
    if digest(now) == file.sha256:
        return path, first, file, None
    if not is_yaml(file.path):
        return path, now, file, [".".join(known.path) for known in file.owned]
    content, kept = without_owned(now, file.owned, first, file.path)
    return path, None if first is None and not content.strip() else content, file, kept


def _give_back(
    path: Path, content: bytes | None, file: FileRecord, kept: list[str] | None, reporter: Reporter
) -> bool:
    """Restore the file, and return whether it had to be changed for it."""
    now = read_file(path)
    if now == content:
        reporter.step("unchanged", file.path, "it is gone" if now is None else "nothing of ours is in it")
    elif content is None:
        remove_file(path)
        reporter.step("removed", file.path, "it was made by link")
    else:
        replace_file(path, content, file.mode if file.private and kept is None else None)
        detail = (
            "the bytes from before link"
            if kept is None
            else "only our values were taken out: the file was changed since"
        )
        reporter.step("restored" if kept is None else "changed", file.path, detail)
    for key in kept or ():
        reporter.step("kept", file.path, f"{key} was changed since")
    return now != content
