"""Throughput and latency of a real server, compared with decoding and the network alone in the same run.

python -m benchmarks.serve [--requests 1000] [--architecture resnet50] [--engine torch]

Rounds of the bare work and of the server alternate, so that drift of the machine affects both; ratios are computed per
round, and their median is reported. The bare work, which is the limit, is decoding and the network on all cores, at the
best of three chunk sizes, in a process with the server's settings. The client runs on the same cores; its CPU time is
reported.

Overload: 32 clients saturate the server, which admits 32 images at a time (two batches, `Bounds.max_pending`); more
clients would only wait longer. Four times as many, 128, are the overload. Refused clients retry after one to two times
the `Retry-After` time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measuring import at_least, at_most, parser_for, report
from benchmarks.serving import (
    CHUNKS,
    Limit,
    Traffic,
    free_port,
    image_request,
    model_folder,
    photographs,
    send_traffic,
    served,
)

PATH = "/invocations?top=5"
SATURATING = 32
OVERLOAD = 4 * SATURATING
CLIENTS = (1, 8, SATURATING, OVERLOAD)
_LIMIT_IMAGES = 64
_SINGLE_IMAGES = 40


def server_command(model: Path, port: int, engine: str) -> list[str]:
    command = ["-m", "breedclf.serving", "serve", str(model), "--port", str(port), "--engine", engine]
    return [sys.executable, *command]


def imports_and_loading(model: Path) -> float:
    """Seconds of a process that imports torch and torchvision, and loads the weights."""
    weights = str(model / "model.safetensors")
    code = f"import torch, torchvision; from safetensors.torch import load_file; load_file({weights!r})"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def cold_start(model: Path, engine: str) -> float:
    """Seconds from the start of a server to its first response."""
    port = free_port()
    with served(server_command(model, port, engine), port, image_request(photographs(1)[0], PATH)) as (_, seconds):
        return seconds


def one_round(limit: Limit, send: Callable[[int, int], Traffic], requests: int) -> dict[str, Any]:
    """One round: the bare work and the server alternate, with the same number of requests at each number of clients."""
    bare, single, traffic = [], [], {}
    for clients in CLIENTS:
        bare.append({chunk: limit.per_second(chunk, _LIMIT_IMAGES) for chunk in CHUNKS})
        if clients == 1:
            single += limit.one_at_a_time(_SINGLE_IMAGES)
        traffic[clients] = send(clients, requests)
        if clients == 1:
            single += limit.one_at_a_time(_SINGLE_IMAGES)
    best = max(statistics.mean(each[chunk] for each in bare) for chunk in CHUNKS)
    return {"limit": best, "bare": bare, "single": statistics.median(single), "traffic": traffic}


def measure(model: Path, engine: str, *, rounds: int, requests: int) -> dict[str, Any]:
    """Run all rounds with one server."""
    made, port = [image_request(picture, PATH) for picture in photographs(32)], free_port()
    limit = Limit(model)
    memory, all_rounds = [], []
    with served(server_command(model, port, engine), port, made[0]) as (process, _):

        def send(clients: int, count: int) -> Traffic:
            return send_traffic(port, made, clients=clients, answers=count)

        for clients in CLIENTS:
            send(clients, 64)
        for number in range(rounds):
            all_rounds.append(one_round(limit, send, requests // rounds))
            memory.append(psutil.Process(process.pid).memory_info().rss)
            summaries = {clients: round(each.per_second, 1) for clients, each in all_rounds[-1]["traffic"].items()}
            print(
                f"  round {number + 1}: limit {all_rounds[-1]['limit']:.1f}/s, {summaries}", file=sys.stderr, flush=True
            )
    limit.close()
    return {"rounds": all_rounds, "memory": memory, "precision": limit.precision}


def main() -> int:
    parser = parser_for(__doc__, quick={"requests": 64, "rounds": 1, "architecture": "resnet18"})
    parser.add_argument("--requests", type=int, default=2000, help="requests per number of clients (default: 2000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--engine", default="torch")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        model = model_folder(Path(root), arguments.architecture)
        measured = measure(model, arguments.engine, rounds=arguments.rounds, requests=arguments.requests)
        starts = [(imports_and_loading(model), cold_start(model, arguments.engine)) for _ in range(arguments.rounds)]
    rounds = measured["rounds"]
    points = {clients: Traffic(clients) for clients in CLIENTS}
    for each in rounds:
        for clients, traffic in each["traffic"].items():
            points[clients].add(traffic)

    def median(ratio: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(ratio(each) for each in rounds)

    summaries = {clients: each.summary() for clients, each in points.items()}
    single = median(lambda each: statistics.median(each["traffic"][1].answered) / each["single"])
    overload = summaries[OVERLOAD]
    goals = [
        *(
            at_least(
                f"share of the limit at {n} clients",
                median(lambda r, n=n: r["traffic"][n].per_second / r["limit"]),
                0.85,
            )
            for n in (8, SATURATING)
        ),
        at_most("p50 of one client over decoding and network", single, 1.15),
        at_most("p99 over p50 at 8 clients", summaries[8]["p99"] / summaries[8]["p50"], 2.0),
        at_most(
            f"p99 at {OVERLOAD} clients over p99 at {SATURATING}", overload["p99"] / summaries[SATURATING]["p99"], 1.25
        ),
        at_most("milliseconds until a refusal, median", 1000 * (overload["refused_p50"] or 0), 50),
        at_most(
            "memory after the last round over memory after the first",
            measured["memory"][-1] / measured["memory"][0],
            1.05,
        ),
        at_most("requests lost", sum(each["lost"] for each in summaries.values()), 0),
        at_most("first response over importing and loading", statistics.median(b / a for a, b in starts), 1.3),
    ]
    details = {
        "engine": arguments.engine,
        "architecture": arguments.architecture,
        "precision_of_the_limit": measured["precision"],
        "limit_per_second": [each["limit"] for each in rounds],
        "limit_by_chunk": [each["bare"] for each in rounds],
        "single_seconds": [each["single"] for each in rounds],
        "points": summaries,
        "share_by_round": {n: [r["traffic"][n].per_second / r["limit"] for r in rounds] for n in CLIENTS},
        "memory_bytes": measured["memory"],
        "imports_and_first_answer_seconds": starts,
        "cores": os.cpu_count(),
    }
    return report("serve" if arguments.engine == "torch" else f"serve-{arguments.engine}", goals, details, arguments)


if __name__ == "__main__":
    sys.exit(main())
