"""Where whole processes spend their time: training, evaluation, prediction, a search, and a request to a server.

The time is the main thread's: what overlaps it, as decoding does while the network runs, doesn't count. "imports"
includes Python's start, "reading" waiting for decoded images, and "network" building it and loading its weights. Each
command is a process of its own; the search and the first training have no cached features. A request's decoding and
network are timed alone, and what is left of it is the server's.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.grid import COMMON, GRID
from benchmarks.measuring import BACKBONES, DATA, arguments, at_most, report
from benchmarks.sampling import NETWORK, OTHER, READING

ARCHITECTURES = ("resnet50", "timm:tf_efficientnet_lite0")
NAME = "hymenoptera"
REQUESTS = 40


def main() -> int:
    given = arguments(__doc__, repeats=3)
    details: dict[str, Any] = {}
    for architecture in ARCHITECTURES[: 1 if given.quick else None]:
        runs = [measured(architecture, REQUESTS // 4 if given.quick else REQUESTS) for _ in range(given.repeats)]
        details[architecture] = {
            name: {part: statistics.median(run[name][part] for run in runs) for part in runs[0][name]}
            for name in runs[0]
        }
    goals = [
        at_most(f"{architecture}, {name}: share of the time with no part", share(parts, OTHER), 0.15)
        for architecture, found in details.items()
        for name, parts in found.items()
        if OTHER in parts
    ]
    return report("time_shares", goals, {"data": NAME, "seconds": details}, given)


def share(parts: Mapping[str, float], name: str) -> float:
    return parts[name] / sum(parts.values())


def measured(architecture: str, requests: int) -> dict[str, dict[str, float]]:
    """Seconds by part of each command, and of a request."""
    network = ["--architecture", architecture, "--weights", str(BACKBONES[architecture])]
    data, found = str(DATA / NAME), {}
    image = str(next((DATA / NAME / "test").rglob("*.jpg")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = str(folder / "out" / "model")
        train = ["train", data, *network, "--output", str(folder / "out")]
        grid = ["tune", *COMMON[:1], *network, *GRID, "--output", str(folder / "search")]
        for title, words, cache in (
            ("train, cold", train, "cache"),
            ("train, warm", train, "cache"),
            ("evaluate", ["evaluate", model, data], "cache"),
            ("predict", ["predict", model, image], "cache"),
            ("tune, 12 trials", grid, "other"),
        ):
            found[title] = sampled([*words, "--quiet"], folder, cache)
            shown = {part: round(seconds, 2) for part, seconds in found[title].items()}
            print(f"  {architecture}, {title}: {shown}", file=sys.stderr, flush=True)
        found["a request"] = request(Path(model), requests)
    return found


def sampled(words: list[str], folder: Path, cache: str) -> dict[str, float]:
    """Seconds by part of a command."""
    answer = folder / "seconds.json"
    environment = os.environ | {"BREEDCLF_CACHE_DIR": str(folder / cache), "BREEDCLF_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "benchmarks.sampling", str(answer), *words]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return dict(json.loads(answer.read_text(encoding="utf-8")))


def request(model: Path, count: int) -> dict[str, float]:
    """Seconds by part of one client's request to a server, medians."""
    from benchmarks.serve import PATH, server_command
    from benchmarks.serving import free_port, image_request, photographs, send_traffic, served

    port, images = free_port(), photographs(8)
    made = [image_request(image, PATH) for image in images]
    with served(server_command(model, port, "torch"), port, made[0]):
        send_traffic(port, made, clients=1, answers=8)
        whole = statistics.median(send_traffic(port, made, clients=1, answers=count).answered)
    reading, network = decoding_and_network(model, images, count)
    return {READING: reading, NETWORK: network, "server": max(0.0, whole - reading - network)}


def decoding_and_network(model: Path, images: list[bytes], count: int) -> tuple[float, float]:
    """Median seconds of an image, without a server."""
    import time

    from breedclf import Classifier
    from breedclf.data.decoding import decode_image

    classifier = Classifier(model)
    times: list[tuple[float, float]] = []
    for number in range(count + 2):
        started = time.perf_counter()
        pixels = classifier.preprocessing.view(decode_image(images[number % len(images)]), 0)
        decoded = time.perf_counter()
        classifier.predictions_of_inputs(pixels[None])
        times.append((decoded - started, time.perf_counter() - decoded))
    first, second = zip(*times[2:], strict=True)
    return statistics.median(first), statistics.median(second)


if __name__ == "__main__":
    sys.exit(main())
