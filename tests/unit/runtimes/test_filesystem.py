"""The mount table: which file system a path is on, and whether other machines may see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.runtimes.embedded.filesystem import (
    Mount,
    existing_parent,
    free_bytes,
    is_network,
    mount_of,
    mount_table,
    parse_mountinfo,
)

MOUNTINFO = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
36 22 0:30 /export /home rw,relatime shared:2 master:1 - nfs4 server:/export rw,vers=4.2
40 22 0:35 / /mnt/my\040disk\134new\011tab rw - fuse.sshfs ana@server:/ rw
41 22 0:36 / /data rw - xfs /dev/sdb rw
42 22 0:37 / /data rw - overlay overlay rw
a line that is none
""".strip()


def test_the_mount_table_is_read_with_its_escapes_and_optional_fields() -> None:
    assert parse_mountinfo(MOUNTINFO) == (
        Mount("/", "ext4"),
        Mount("/proc", "proc"),
        Mount("/home", "nfs4"),
        Mount("/mnt/my disk\\new\ttab", "fuse.sshfs"),
        Mount("/data", "xfs"),
        Mount("/data", "overlay"),
    )


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv/stack", "ext4"),
        ("/home/nobody-is-called-this/stack", "nfs4"),
        ("/homestead", "ext4"),
        ("/data/x", "overlay"),
        ("/mnt/my disk\\new\ttab/x", "fuse.sshfs"),
    ],
)
def test_a_path_is_on_the_nearest_mount_and_the_last_one_there(path: str, kind: str) -> None:
    found = mount_of(Path(path), parse_mountinfo(MOUNTINFO))
    assert found is not None
    assert found.kind == kind


def test_a_path_that_leads_elsewhere_is_on_the_mount_it_leads_to(tmp_path: Path) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.mkdir()
    link.symlink_to(there)
    table = [Mount("/", "ext4"), Mount(str(there.resolve()), "nfs")]
    assert mount_of(link / "data", table) == table[1]


def test_a_path_without_a_table_is_on_no_mount() -> None:
    assert mount_of(Path("/x"), []) is None


NETWORK = [
    "nfs",
    "nfs4",
    "NFS4",
    "cifs",
    "smb3",
    "lustre",
    "gpfs",
    "ceph",
    "beegfs",
    "afs",
    "fuse.sshfs",
    "fuse.s3fs",
    "macfuse.sshfs",
    "fuse.juicefs",
]
LOCAL = [
    "ext4",
    "xfs",
    "btrfs",
    "zfs",
    "tmpfs",
    "overlay",
    "apfs",
    "fuseblk",
    "fuse",
    "fuse.ntfs-3g",
    "fuse.fuse-overlayfs",
]


@pytest.mark.parametrize("kind", NETWORK)
def test_a_file_system_of_a_network_is_known(kind: str) -> None:
    assert is_network(Mount("/x", kind))


@pytest.mark.parametrize("kind", LOCAL)
def test_a_local_file_system_is_not_taken_for_a_networks(kind: str) -> None:
    assert not is_network(Mount("/x", kind))


def test_this_machine_has_a_mount_for_every_path(tmp_path: Path) -> None:
    found = mount_of(tmp_path, mount_table())
    assert found is not None
    assert found.kind
    assert tmp_path.resolve().is_relative_to(found.point)


def test_the_space_of_a_path_that_is_still_to_be_made_is_that_of_its_parent(tmp_path: Path) -> None:
    assert existing_parent(tmp_path / "a" / "b") == tmp_path
    assert free_bytes(tmp_path / "a" / "b") > 0
