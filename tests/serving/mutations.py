"""Requests that went wrong on their way: flipped, cut, mislabelled, swollen, too clever; drawn from a seed."""

from __future__ import annotations

import base64
import json
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from tests.serving.conftest import draw, encode

TYPES = ("image/jpeg", "image/png", "image/webp", "application/x-image", "application/json")
ODD_TYPES = (
    "",
    "text/plain",
    "image/gif",
    "application/x-npy",
    "multipart/form-data; boundary=x",
    "image/jpeg;;;=",
    "\x7f",
)
PATHS = (
    "/endpoints/../invocations",
    "/endpoints/%00/invocations",
    "/endpoints/" + "x" * 3000 + "/invocations",
    "//invocations",
    "/invocations/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/page/../__init__.py",
)


@dataclass(frozen=True)
class Mutated:
    """A request and what was done to it."""

    what: str
    body: bytes
    headers: dict[str, str]
    path: str = "/invocations"
    query: dict[str, str] = field(default_factory=dict)


def _valid(rng: random.Random) -> tuple[bytes, str]:
    image = draw(rng.randrange(20), width=rng.randrange(1, 90), height=rng.randrange(1, 90))
    kind = rng.choice(TYPES)
    file = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WebP"}.get(kind) or rng.choice(["JPEG", "PNG"])
    data = encode(image, file)
    if kind == "application/json":
        return json.dumps(
            {"instances": [{"b64": base64.b64encode(data).decode()}] * rng.randrange(1, 3)}
        ).encode(), kind
    return data, kind


def _png_of(width: int, height: int) -> bytes:
    """A well-formed PNG that says it is this big and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def _flipped(body: bytes, rng: random.Random, most: int) -> bytes:
    mutable = bytearray(body)
    for _ in range(rng.randrange(1, most)):
        mutable[rng.randrange(len(mutable))] ^= 1 << rng.randrange(8)
    return bytes(mutable)


def mutated_requests(count: int, seed: int) -> Iterator[Mutated]:
    """As many requests; the same seed gives the same."""
    rng = random.Random(seed)
    bomb = encode(Image.new("1", (9000, 9000)), "PNG")
    odd_json = [
        b"null",
        b"[]",
        b'{"instances": 3}',
        b'{"instances": [{"b64": 1}]}',
        b'{"instances": [{}]}',
        b'"\\ud800"',
    ]
    for _ in range(count):
        body, kind = _valid(rng)
        headers = {"Content-Type": kind}
        match rng.randrange(13):
            case 0 | 1 | 2:
                yield Mutated("flipped bits", _flipped(body, rng, 12), headers)
            case 3:
                yield Mutated("flipped in the head", _flipped(body[:64], rng, 6) + body[64:], headers)
            case 4 | 5:
                yield Mutated("cut", body[: rng.randrange(len(body))], headers)
            case 6:
                yield Mutated("another type", body, {"Content-Type": rng.choice([*TYPES, *ODD_TYPES])})
            case 7:
                yield Mutated("noise", rng.randbytes(rng.randrange(2000)), headers)
            case 8:
                size = rng.choice([(60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 0), (7000, 7000), (50_000, 1)])
                yield Mutated("a wrong size", _png_of(*size), {"Content-Type": "image/png"})
            case 9:
                image = bomb if rng.random() < 0.1 else body + bytes(rng.randrange(100_000))
                yield Mutated("swollen", image, {"Content-Type": "application/x-image"})
            case 10:
                odd = rng.choice([*odd_json, b"[" * 5000, b"{" * 5000, b"9" * 5000, b'{"a":' * 3000, b"\xef\xbb\xbf{}"])
                yield Mutated("odd JSON", odd, {"Content-Type": "application/json"})
            case 11:
                names = {"Accept": rng.choice(["", "*/*;q=0", "x", "," * 500, "application/json;q=x"])}
                names["X-Amzn-SageMaker-Custom-Attributes"] = rng.choice(["top=-1", "top=1" + "0" * 50, "=" * 900])
                names["X-Request-Id"] = rng.choice(["x" * 5000, "a\tb", "<script>"])
                yield Mutated("odd headers", body, {**headers, **names})
            case _:
                yield Mutated("a trick in the path", body, headers, path=rng.choice(PATHS))
