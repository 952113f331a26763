"""Requests per second compared with FastAPI and LitServe, with the same network and decoding, at 8 and 32 clients.

make bench-peers, or python -m benchmarks.serve_peers [--requests 1000] once .venv-peers is there

All three load the same model folder by the same classes, in processes of the same environment, so that only what is
around them differs. FastAPI answers each request in a thread of its pool, LitServe gathers batches of 16. Every server
runs all the time, and they are asked in turns.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import at_least, at_most, parser_for, peers_python, report
from benchmarks.serving import (
    Traffic,
    form_request,
    free_port,
    image_request,
    model_folder,
    photographs,
    send_traffic,
    served,
)

PATH = "/invocations?top=5"
CLIENTS = (8, 32)
SERVERS = {
    "ours": ("breedclf.serving serve {model} --port {port}", image_request),
    "FastAPI": ("benchmarks.peers.serve_fastapi {model} {port}", image_request),
    "LitServe": ("benchmarks.peers.serve_litserve {model} {port}", form_request),
}


def main() -> int:
    parser = parser_for(__doc__, quick={"requests": 32, "rounds": 1})
    parser.add_argument("--requests", type=int, default=1000, help="requests per number of clients (default: 1000)")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    python, pictures = peers_python(), photographs(32)
    made = {name: [request(each, PATH) for each in pictures] for name, (_, request) in SERVERS.items()}
    traffic: dict[tuple[str, int], list[Traffic]] = {(name, n): [] for name in SERVERS for n in CLIENTS}
    with tempfile.TemporaryDirectory() as root, contextlib.ExitStack() as started:
        model, ports = model_folder(Path(root), "resnet50"), {name: free_port() for name in SERVERS}
        for name, (command, _) in SERVERS.items():
            words = command.format(model=model, port=ports[name]).split()
            started.enter_context(served([str(python), "-m", *words], ports[name], made[name][0]))
            send_traffic(ports[name], made[name], clients=8, answers=32)
        for number in range(arguments.rounds):
            for (name, clients), each in traffic.items():
                answers = arguments.requests // arguments.rounds
                each.append(send_traffic(ports[name], made[name], clients=clients, answers=answers))
            rates = {f"{name}, {n}": round(each[-1].per_second, 1) for (name, n), each in traffic.items()}
            print(f"  round {number + 1}: {rates}", file=sys.stderr, flush=True)
    goals = [
        at_least(
            f"ours over {name} at {n} clients, requests per second", over(traffic["ours", n], traffic[name, n]), 1.0
        )
        for name in SERVERS
        if name != "ours"
        for n in CLIENTS
    ]
    goals.append(
        at_most("requests lost by breedclf", sum(each.lost for n in CLIENTS for each in traffic["ours", n]), 0)
    )
    details = {f"{name}, {n} clients": [t.summary() for t in each] for (name, n), each in traffic.items()}
    return report("serve_peers", goals, details, arguments)


def over(ours: list[Traffic], theirs: list[Traffic]) -> float:
    """The median over rounds of their ratios."""
    return statistics.median(a.per_second / b.per_second for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    sys.exit(main())
