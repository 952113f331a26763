"""ICC profiles made by hand: three primaries and one curve, a grey curve, or a table for CMYK."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np

SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))
D65, D50 = (0.3127, 0.3290), (0.34567, 0.35850)
_D50_XYZ = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def srgb_curve(level: float) -> float:
    """From a stored value to light, both from 0 to 1."""
    return level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4


def power(gamma: float) -> Callable[[float], float]:
    return lambda level: level**gamma


def rgb_profile(
    primaries: Sequence[tuple[float, float]],
    curve: Callable[[float], float] = srgb_curve,
    white: tuple[float, float] = D65,
) -> bytes:
    """An RGB display profile."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white_xyz = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    to_xyz = xyz * np.linalg.solve(xyz, white_xyz)
    cones = np.diag((_BRADFORD @ np.array(_D50_XYZ)) / (_BRADFORD @ white_xyz))
    adapted = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ to_xyz
    tags = {name: _xyz(adapted[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _profile(b"mntr", b"RGB ", {**tags, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve))})


def grey_profile(curve: Callable[[float], float]) -> bytes:
    """A profile of one channel."""
    return _profile(b"mntr", b"GRAY", {b"kTRC": _curve(curve)})


def cmyk_profile(paper: tuple[float, float, float] = (0.8, 0.8, 0.8)) -> bytes:
    """A printer whose paper has that lightness, a and b (0 to 1 in Lab's 8 bits), and inks that only darken it."""
    corners = bytearray()
    for inks in np.ndindex(2, 2, 2, 2):
        light = paper[0] * (1 - 0.2 * sum(inks[:3])) * (1 - 0.9 * inks[3])
        corners += bytes([round(255 * light), 128, 128])
    identity = bytes(range(256))
    unit = b"".join(struct.pack(">l", value) for value in (65536, 0, 0, 0, 65536, 0, 0, 0, 65536))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + identity * 4 + bytes(corners) + identity * 3
    return _profile(b"prtr", b"CMYK", {b"A2B0": table}, connection=b"Lab ")


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">l", round(float(value) * 65536)) for value in values)


def _curve(curve: Callable[[float], float], points: int = 1024) -> bytes:
    levels = [round(65535 * curve(at / (points - 1))) for at in range(points)]
    return b"curv\0\0\0\0" + struct.pack(f">L{points}H", points, *levels)


def _text(text: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">L", len(text) + 1) + text + b"\0" + bytes(12 + 67 - 1)


def _profile(kind: bytes, space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    tags = {b"desc": _text(b"made by a test"), b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(_D50_XYZ), **tags}
    table, content = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">LL", start + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">L4sL4s4s4s12s4s", start + len(content), b"lcms", 0x02400000, kind, space, connection, b"", b"acsp"
    )
    head += bytes(64 - len(head)) + bytes(4) + b"".join(struct.pack(">l", round(v * 65536)) for v in _D50_XYZ)
    head += bytes(128 - len(head))
    return head + struct.pack(">L", len(tags)) + table + content
