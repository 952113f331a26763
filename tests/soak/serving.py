"""`make soak`: a server is asked many times; each answer is the right one, none is lost, and its memory stays flat.

python -m tests.soak.serving --requests 20000 --clients 8
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.serving.conftest import draw, encode, serving_process, write_tiny_model

PICTURES = 24
KINDS = ("JPEG", "PNG", "WEBP")
MEASURES = 20
MOST_GROWTH = 1.05
SETTLED_AFTER = 4  # measures: thread stacks and allocators grow to their size in the first fifth


def soak(model: Path, *, requests: int, clients: int) -> dict[str, object]:
    """Run the soak test and return its figures; `problems` is empty on success."""
    bodies = [
        (f"image/{kind.lower()}", encode(draw(number, width=400, height=300), kind))
        for number, kind in zip(range(PICTURES), itertools.cycle(KINDS), strict=False)
    ]
    with serving_process(model) as (url, process):
        port = int(url.rpartition(":")[2])
        expected = [_ask(http.client.HTTPConnection("127.0.0.1", port), *body) for body in bodies]
        return _traffic(process, port, bodies, expected, requests, clients)


def _traffic(
    server: psutil.Process,
    port: int,
    bodies: list[tuple[str, bytes]],
    expected: list[tuple[int, bytes]],
    requests: int,
    clients: int,
) -> dict[str, object]:
    numbers, statuses, problems = itertools.count(), Counter[int](), list[str]()
    memory, begun = list[int](), time.monotonic()

    def client(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while (number := next(numbers)) < requests:
            which = number % len(bodies)
            try:
                status, answer = _ask(connection, *bodies[which])
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                problems.append(f"request {number} is lost: {error!r}")
                continue
            statuses[status] += 1
            if not _same(answer, expected[which][1]):
                problems.append(f"request {number} ({bodies[which][0]}) got {status} {answer[:200]!r}")
            if number % (requests // MEASURES) == 0:
                memory.append(sum(each.memory_info().rss for each in (server, *server.children(recursive=True))))

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    growth = memory[-1] / memory[SETTLED_AFTER]
    if growth > MOST_GROWTH:
        problems.append(f"memory grew {growth:.2f} times after the first {SETTLED_AFTER} of {MEASURES} measures")
    seconds = time.monotonic() - begun
    return {
        "requests": requests,
        "clients": clients,
        "statuses": dict(statuses),
        "seconds": round(seconds, 1),
        "requests_per_second": round(requests / seconds, 1),
        "memory_mib": [round(each / 2**20, 1) for each in memory],
        "memory_growth": round(growth, 3),
        "lost": requests - statuses.total(),
        "problems": problems[:20],
    }


def _ask(connection: http.client.HTTPConnection, content_type: str, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", "/invocations", body, {"Content-Type": content_type})
    response = connection.getresponse()
    return response.status, response.read()


def _same(answer: bytes, expected: bytes) -> bool:
    """The same ranking with the same probabilities, up to the rounding of another batch."""
    try:
        ours, theirs = (
            {each["class_name"]: each["probability"] for each in json.loads(text)["predictions"]}
            for text in (answer, expected)
        )
    except (ValueError, KeyError, TypeError):
        return False
    return ours.keys() == theirs.keys() and all(abs(ours[name] - theirs[name]) < 0.01 for name in theirs)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_model(Path(folder) / "model")
        figures = soak(model, requests=given.requests, clients=given.clients)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 1 if figures["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
