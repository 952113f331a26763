"""Whose process is at the other end of a connection on this machine."""

from __future__ import annotations

import os
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F")  # as both tables write 127.0.0.1


def is_of_this_user(client_port: int, port: int) -> bool:
    """Whether the process that connects from a port of 127.0.0.1 is this user's or root's; True if unknown.

    Only Linux says so. A browser sends the cookie of one port of a host to all of its ports, so that another user's
    server there could learn it; that user's own processes are refused nevertheless.
    """
    for table in _TABLES:
        try:
            owner = owner_in(table.read_text(encoding="ascii"), client_port, port)
        except OSError:
            continue
        if owner is not None:
            return owner in (0, os.getuid())
    return True


def owner_in(table: str, client_port: int, port: int) -> int | None:
    """The user of the socket that connects two ports of 127.0.0.1, in the text of `/proc/net/tcp`; None without one.

    Example:
        >>> row = "0: 0100007F:C000 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 1000 0 42 1"
        >>> owner_in(row, 0xC000, 0x1F90)
        1000
    """
    for line in table.splitlines():
        words = line.split()
        if len(words) < 8 or f":{client_port:04X}" not in words[1] or f":{port:04X}" not in words[2]:
            continue
        if words[1].partition(":")[0] in _LOOPBACK and words[2].partition(":")[0] in _LOOPBACK:
            return int(words[7])
    return None
