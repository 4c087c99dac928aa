"""File systems: which one a path is on, whether it is a network's, how much is free."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

NETWORK_TYPES = frozenset(
    [
        "acfs",
        "afpfs",
        "afs",
        "auristorfs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "cvfs",
        "davfs",
        "davfs2",
        "fhgfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "mfs",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "webdav",
        "wekafs",
    ]
)
# FUSE names the program behind it after a dot.
NETWORK_FUSE = frozenset(
    [
        "sshfs",
        "s3fs",
        "rclone",
        "gcsfuse",
        "goofys",
        "mountpoint-s3",
        "glusterfs",
        "ceph",
        "curlftpfs",
        "davfs",
        "davfs2",
        "cvmfs2",
        "juicefs",
        "moosefs",
        "mfs",
        "lizardfs",
        "beegfs_mount",
        "blobfuse",
        "blobfuse2",
        "smbnetfs",
    ]
)


@dataclass(frozen=True)
class Mount:
    """One line of the mount table."""

    point: str
    kind: str


def mount_table() -> tuple[Mount, ...]:
    """Return what is mounted here, in order; a later one hides an earlier one at the same place."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        import psutil

        return tuple(Mount(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True))
    return parse_mountinfo(text)


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Return the mounts in the text of /proc/self/mountinfo."""
    mounts = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) > 4 and kind:
            mounts.append(Mount(_unescaped(fields[4]), kind[0]))
    return tuple(mounts)


def mount_of(path: Path, table: Iterable[Mount]) -> Mount | None:
    """Return the mount that the path is on, or would be; None when the table has none for it."""
    real = Path(os.path.realpath(path))
    found: Mount | None = None
    for mount in table:
        point = Path(mount.point)
        if (real == point or point in real.parents) and (
            found is None or len(point.parts) >= len(Path(found.point).parts)
        ):
            found = mount
    return found


def is_network(mount: Mount) -> bool:
    """Return whether other machines may see the same files."""
    kind = mount.kind.lower()
    main, _, behind = kind.partition(".")
    return (
        kind in NETWORK_TYPES
        or main in NETWORK_TYPES
        or (main in {"fuse", "macfuse", "osxfuse"} and behind in NETWORK_FUSE)
    )


def existing_parent(path: Path) -> Path:
    """Return the path itself, or the nearest directory above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def free_bytes(path: Path) -> int:
    """Return the bytes that an ordinary user may still write where the path is, or will be."""
    stat = os.statvfs(existing_parent(path))
    return stat.f_bavail * stat.f_frsize


def _unescaped(text: str) -> str:
    """Decode space, tab, newline and backslash, which mountinfo writes as octal numbers."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
