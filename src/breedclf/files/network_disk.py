"""Folders on network file systems, where locks and mapped memory aren't shared between machines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import psutil

_NETWORK_TYPES = re.compile(
    "9p|acfs|afpfs|afs|beegfs|ceph|cifs|coda|davfs|fhgfs|fuse[.].*|glusterfs|gpfs|lustre|mfs|ncpfs|nfs[34]?|ocfs2|orangefs"
    "|panfs|pvfs2|smb[23]|smbfs|webdav|wekafs"
)


def network_file_system(folder: Path) -> str | None:
    """The type of the network file system that a folder is on, such as "nfs4"; None if its disk is of this machine.

    The folder needn't exist. Linux and macOS list what is mounted; where that can't be read, the answer is None.
    """
    try:
        mounts = [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
    except (OSError, RuntimeError, NotImplementedError):
        return None
    return network_type(os.path.realpath(folder), mounts)


def network_type(path: str, mounts: Iterable[tuple[str, str]]) -> str | None:
    """The type of the network file system of a resolved path, from mount points and their types, later ones on top.

    Example:
        >>> network_type("/net/cache", [("/", "ext4"), ("/net", "nfs4")])
        'nfs4'
    """
    best, found = -1, ""
    for point, kind in mounts:
        if len(point) >= best and (path == point or path.startswith(point.rstrip("/") + "/")):
            best, found = len(point), kind.lower()
    return found if _NETWORK_TYPES.fullmatch(found) else None
