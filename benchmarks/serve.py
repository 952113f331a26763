"""What serving costs: throughput and waiting times of a real server beside decoding and the network in the same run.

python -m benchmarks.serve [--requests 1000] [--architecture resnet50]

The server is a process of its own, asked over HTTP by threads of this one, on the same cores: the client's own cost is
part of what is measured. The limit is decoding and network alone, 16 pictures at a time, before and after
in the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import urllib3
from PIL import Image

from benchmarks.measuring import at_least, at_most, report

CLASSES = 133


def model_folder(root: Path, architecture: Any) -> Path:
    from breedclf.learning.artifact import write_artifact
    from breedclf.learning.model import new_network
    from breedclf.learning.preprocessing import Preprocessing

    names = tuple(f"breed {number}" for number in range(CLASSES))
    card = {"architecture": architecture, "labels": names, "class_names": names, "preprocessing": Preprocessing()}
    write_artifact(root / "model", card, new_network(architecture, seed=0, classes=CLASSES).state_dict())
    return root / "model"


def photographs(count: int) -> list[bytes]:
    """JPEG files of 500 x 375 pixels, as large as photographs of that size."""
    files = []
    for seed in range(count):
        blocks = np.random.default_rng(seed).integers(0, 256, (38, 50, 3), dtype=np.uint8)
        file = BytesIO()
        Image.fromarray(blocks).resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


@contextmanager
def server(model: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """A server's address, its process, and the seconds from its start to its first answer."""
    from breedclf.serving.server import listen

    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    url, started = f"http://127.0.0.1:{port}", time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "breedclf.serving", "serve", str(model), "--port", str(port)],
        stderr=subprocess.DEVNULL,
    )
    try:
        picture = photographs(1)[0]
        with urllib3.PoolManager(retries=False) as pool:
            while ask(pool, url, picture)[0] != 200:
                time.sleep(0.005)
        yield url, process, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(40)


def ask(pool: urllib3.PoolManager, url: str, picture: bytes) -> tuple[int, float]:
    started = time.perf_counter()
    try:
        headers = {"Content-Type": "image/jpeg"}
        status = pool.request("POST", f"{url}/invocations?top=5", body=picture, headers=headers, timeout=120).status
    except urllib3.exceptions.HTTPError:
        status = 0
    return status, time.perf_counter() - started


def load(url: str, pictures: list[bytes], *, clients: int, requests: int) -> dict[str, Any]:
    """Closed loop: each client asks again as soon as it is answered."""
    numbers, lock = iter(range(requests)), threading.Lock()

    def client() -> list[tuple[int, float]]:
        answers = []
        with urllib3.PoolManager(retries=False) as pool:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return answers
                answers.append(ask(pool, url, pictures[number % len(pictures)]))

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = [each for future in [pool.submit(client) for _ in range(clients)] for each in future.result()]
    seconds = time.perf_counter() - started
    good = sorted(wait for status, wait in answers if status == 200)
    refused = sorted(wait for status, wait in answers if status == 503)
    return {
        "clients": clients,
        "requests": len(answers),
        "answered": len(good),
        "refused": len(refused),
        "lost": len(answers) - len(good) - len(refused),
        "per_second": len(good) / seconds,
        "p50": statistics.median(good),
        "p99": good[int(0.99 * (len(good) - 1))],
        "refused_p50": statistics.median(refused) if refused else None,
    }


def bare(model: Path, pictures: list[bytes], *, seconds: float) -> dict[str, float]:
    """Seconds for one picture, decoded and through the network alone; and pictures a second, 16 at a time."""
    from breedclf.learning.classifier import Classifier

    classifier = Classifier(model, batch_size=16)
    classifier.predict(pictures[:16])
    single, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        classifier.predict(pictures[len(single) % len(pictures)])
        single.append(time.perf_counter() - started)
    many, done, started = [pictures[i % len(pictures)] for i in range(32)], 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        classifier.predict(many)
        done += len(many)
    return {"one": statistics.median(single), "per_second": done / (time.perf_counter() - started)}


def imports_and_loading(model: Path) -> float:
    """Seconds of a process that imports torch and torchvision and loads the weights."""
    weights = str(model / "model.safetensors")
    code = f"import torch, torchvision; from safetensors.torch import load_file; load_file({weights!r})"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--save", action="store_true", help="keep the document under benchmarks/results/")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument(
        "--soak", type=int, default=0, metavar="REQUESTS", help="also send so many and watch the memory"
    )
    arguments = parser.parse_args()
    pictures = photographs(32)
    with tempfile.TemporaryDirectory() as root:
        model = model_folder(Path(root), arguments.architecture)
        imports = statistics.median(imports_and_loading(model) for _ in range(3))
        limits = [bare(model, pictures, seconds=10)]
        with server(model) as (url, process, cold):
            load(url, pictures, clients=8, requests=50)
            points = [load(url, pictures, clients=each, requests=arguments.requests) for each in (1, 8, 32, 64)]
            memory = psutil.Process(process.pid).memory_info().rss
            overload = load(url, pictures, clients=256, requests=4 * arguments.requests)
            soak = load(url, pictures, clients=8, requests=arguments.soak) if arguments.soak else None
            growth = psutil.Process(process.pid).memory_info().rss / memory
        limits.append(bare(model, pictures, seconds=10))
    limit = statistics.mean(each["per_second"] for each in limits)
    one = statistics.mean(each["one"] for each in limits)
    goals = [
        at_least("share of the limit at 8 clients", points[1]["per_second"] / limit, 0.85),
        at_least("share of the limit at 32 clients", points[2]["per_second"] / limit, 0.85),
        at_most("p50 of one client over decoding and network", points[0]["p50"] / one, 1.15),
        at_most("p99 over p50 at 8 clients", points[1]["p99"] / points[1]["p50"], 2.0),
        at_most(
            "p99 at 4x overload over p99 at 64 clients, which fill the queue", overload["p99"] / points[3]["p99"], 1.25
        ),
        at_most("memory after overload over before", growth, 1.25),
        at_most("requests lost", sum(each["lost"] for each in [*points, overload, soak or {"lost": 0}]), 0),
        at_most("first answer over importing and loading", cold / imports, 1.3),
    ]
    details = {"bare": limits, "points": points, "overload": overload, "soak": soak, "cores": os.cpu_count()}
    return report("serve", goals, details, arguments)


if __name__ == "__main__":
    sys.exit(main())
