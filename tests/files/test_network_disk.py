"""Which folders are on network file systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf.files.network_disk import network_file_system, network_type

MOUNTS = [
    ("/", "ext4"),
    ("/net", "nfs4"),
    ("/net/local", "xfs"),
    ("/mnt/my share", "cifs"),
    ("/Volumes/data", "smbfs"),
    ("/opt", "nfs"),
    ("/opt", "btrfs"),
    ("/mnt/photos", "fuse.sshfs"),
    ("/mnt/c", "fuseblk"),
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/net/cache", "nfs4"),
        ("/net", "nfs4"),
        ("/nets/x", None),
        ("/net/local/x", None),
        ("/mnt/my share/x", "cifs"),
        ("/Volumes/data/x", "smbfs"),
        ("/opt/cache", None),
        ("/mnt/photos", "fuse.sshfs"),
        ("/mnt/c/Users", None),
        ("/tmp", None),
    ],
)
def test_the_last_and_deepest_mount_decides(path: str, kind: str | None) -> None:
    assert network_type(path, MOUNTS) == kind


def test_a_folder_of_this_machine_that_does_not_exist_yet(tmp_path: Path) -> None:
    assert network_file_system(tmp_path / "not" / "there") is None
