"""A local endpoint's server on the GPU: requests per second and latency, against decoding and the network alone."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.gpu.notes import Notes, Setup
from benchmarks.serve import PATH, server_command
from benchmarks.serving import (
    CHUNKS,
    Limit,
    Traffic,
    free_port,
    image_request,
    model_folder,
    percentile,
    photographs,
    send_traffic,
    served,
)

_SECONDS = 4.0


def run(setup: Setup, notes: Notes) -> None:
    model = model_folder(setup.folder, setup.sizes.architecture)
    requests = [image_request(photo, PATH) for photo in photographs(32 if setup.on_gpu else 4)]
    notes.measure("decoding and network alone", lambda: limit(setup, model))
    port, log = free_port(), setup.folder / "server.log"
    server = served(server_command(model, port, "torch"), port, requests[0], log=log)
    with notes.trying("endpoint"), server as (_, first):
        notes["seconds to the first response"] = first
        for clients in setup.sizes.clients:
            notes.measure(f"{clients} clients", lambda n=clients: traffic(setup, port, requests, n))
    if "endpoint" in notes.found:
        notes["log of the server"] = log.read_text(encoding="utf-8", errors="replace")[-1_500:]


def limit(setup: Setup, model: Any) -> dict[str, Any]:
    """Images per second by chunk, and the seconds of one image, in a process with a server's settings."""
    alone = Limit(model)
    count = 1_000 if setup.on_gpu else 8
    chunks = CHUNKS if setup.on_gpu else CHUNKS[:1]
    rates = {str(chunk): alone.per_second(chunk, count) for chunk in chunks}
    one = statistics.median(alone.one_at_a_time(count // 8))
    alone.close()
    return {"images_per_second": rates, "one_image_ms": 1000 * one, "precision": alone.precision}


def traffic(setup: Setup, port: int, requests: list[bytes], clients: int) -> dict[str, Any]:
    """Some seconds of requests in a closed loop, after a short round that finds the rate."""
    short = send_traffic(port, requests, clients=clients, answers=64 if setup.on_gpu else 4)
    if not setup.on_gpu:
        return summary(short)
    answers = max(64, int(_SECONDS * short.per_second))
    return summary(send_traffic(port, requests, clients=clients, answers=answers))


def summary(found: Traffic) -> dict[str, Any]:
    """Rates and milliseconds; without the first second, in which all clients come at once, if others follow."""
    seconds = found.settled or found.answered
    return {
        "requests_per_second": found.per_second,
        "p50_ms": 1000 * statistics.median(seconds),
        "p99_ms": 1000 * percentile(seconds, 0.99),
        "answered": len(found.answered),
        "refused": len(found.refused),
        "lost": found.lost,
        "client_cpu_ms_per_request": 1000 * found.client_cpu_seconds / max(1, len(found.answered)),
    }
