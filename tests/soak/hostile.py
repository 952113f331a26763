"""Hostile images among honest requests: how long these and /ping wait, beside the same without, and what memory does.

python -m tests.soak.hostile --hostile 100 --requests 400 --clients 4
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.hostile_images import many_scans, png_of
from tests.serving.conftest import draw, encode, serving_process, write_tiny_model

MOST_TIMES_SLOWER = 2.0
MOST_GROWTH = 1.10
MOST_PING_SECONDS = 0.1
HOSTILE_CLIENTS = 1


def attack(count: int) -> list[tuple[str, bytes]]:
    """`count` hostile requests, as type and body."""
    scans = many_scans(520_000)  # 6 MB
    kinds = [
        ("image/jpeg", scans),
        ("image/jpeg", many_scans(81_501)),
        ("image/png", png_of(1, 49_900_000)),
        ("application/json", b"[" + b"[]," * 2_000_000 + b"[]]"),
    ]
    return [kinds[number % len(kinds)] for number in range(count)]


class Honest:
    """Clients that send images and record how many seconds each answer takes."""

    def __init__(self, port: int, requests: int, clients: int) -> None:
        self._port, self._requests, self._clients = port, requests, clients
        self._bodies = [encode(draw(number, width=400, height=300)) for number in range(24)]
        self.statuses: Counter[int] = Counter()

    def waits(self) -> list[float]:
        numbers, waits = itertools.count(), list[float]()

        def client(_: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            while (number := next(numbers)) < self._requests:
                started = time.monotonic()
                status = ask(connection, "image/jpeg", self._bodies[number % len(self._bodies)])
                waits.append(time.monotonic() - started)
                self.statuses[status] += 1

        with ThreadPoolExecutor(self._clients) as pool:
            list(pool.map(client, range(self._clients)))
        return waits


def ask(connection: http.client.HTTPConnection, kind: str, body: bytes) -> int:
    connection.request("POST", "/invocations", body, {"Content-Type": kind})
    response = connection.getresponse()
    response.read()
    return response.status


def pings(port: int, over: threading.Event) -> list[float]:
    """How long each /ping takes until it is over."""
    connection, waits = http.client.HTTPConnection("127.0.0.1", port, timeout=60), list[float]()
    while not over.is_set():
        started = time.monotonic()
        connection.request("GET", "/ping")
        assert connection.getresponse().read() == b""
        waits.append(time.monotonic() - started)
        time.sleep(0.01)
    return waits


def measured(model: Path, *, hostile: int, requests: int, clients: int) -> dict[str, object]:
    """The figures; `problems` is empty when all is well."""
    with serving_process(model) as (url, process), ThreadPoolExecutor(HOSTILE_CLIENTS + 1) as pool:
        port = int(url.rpartition(":")[2])
        honest = Honest(port, requests, clients)
        honest.waits()  # warm
        refused = _sent(port, attack(8))
        usual = honest.waits()
        memory = _memory(process)
        over = threading.Event()
        ping = pool.submit(pings, port, over)
        share = attack(hostile)
        sent = [pool.submit(_sent, port, share[number::HOSTILE_CLIENTS]) for number in range(HOSTILE_CLIENTS)]
        under = honest.waits()
        refused += sum((each.result() for each in sent), Counter[int]())
        over.set()
        slowest_ping = max(ping.result())
        growth = _memory(process) / memory
    before, after = (statistics.quantiles(each, n=100)[98] for each in (usual, under))
    problems = [f"{count} honest requests got {status}" for status, count in honest.statuses.items() if status != 200]
    if lost := 3 * requests - honest.statuses.total():
        problems.append(f"{lost} honest requests are lost")
    if not set(refused) <= {400, 422}:
        problems.append(f"hostile requests got {dict(refused)}")
    if after > MOST_TIMES_SLOWER * before:
        problems.append(f"the 99th percentile is {after / before:.2f} times the usual one")
    if slowest_ping > MOST_PING_SECONDS:
        problems.append(f"/ping took {slowest_ping:.3f} s")
    if growth > MOST_GROWTH:
        problems.append(f"memory grew {growth:.2f} times")
    return {
        "honest": dict(honest.statuses),
        "hostile": dict(refused),
        "p50_ms": [round(1000 * statistics.median(each), 1) for each in (usual, under)],
        "p99_ms": [round(1000 * each, 1) for each in (before, after)],
        "slowest_ping_ms": round(1000 * slowest_ping, 1),
        "memory_growth": round(growth, 3),
        "problems": problems,
    }


def _sent(port: int, requests: list[tuple[str, bytes]]) -> Counter[int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    return Counter(ask(connection, kind, body) for kind, body in requests)


def _memory(process: psutil.Process) -> int:
    return int(sum(each.memory_info().rss for each in (process, *process.children(recursive=True))))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hostile", type=int, default=100)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--clients", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_model(Path(folder) / "model")
        figures = measured(model, hostile=given.hostile, requests=given.requests, clients=given.clients)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 1 if figures["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
