"""Shared by the serving benchmarks: a model, photos, a client, the limit in a separate process, servers."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import random
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

CLASSES = 133
CHUNKS = (8, 16, 32)
START_SECONDS = 120.0
SETTLING_SECONDS = 1.0


def model_folder(root: Path, architecture: Any, *, crop_px: int = 224) -> Path:
    """A model with random weights and 133 classes."""
    from breedclf.data.preprocessing import Preprocessing
    from breedclf.inference.model_directory import write_artifact
    from breedclf.models.backbones.backbone import find_backbone

    names = tuple(f"class {number}" for number in range(CLASSES))
    preprocessing = Preprocessing(resize_px=crop_px * 256 // 224, crop_px=crop_px)
    card = {"architecture": architecture, "labels": names, "class_names": names, "preprocessing": preprocessing}
    write_artifact(root / "model", card, find_backbone(architecture).new_network(seed=0, classes=CLASSES).state_dict())
    return root / "model"


def photographs(count: int) -> list[bytes]:
    """JPEG files of 500 x 375 pixels, as large as photos of that size."""
    files = []
    for seed in range(count):
        blocks = np.random.default_rng(seed).integers(0, 256, (38, 50, 3), dtype=np.uint8)
        file = BytesIO()
        Image.fromarray(blocks).resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


class Limit:
    """Decoding and the network alone, without any server, in a process with a server's own settings.

    It computes only when it is asked, so that its turns and the server's can be interleaved. A chunk is decoded by one
    thread a core and then goes through the network, which uses all cores.
    """

    def __init__(self, model: Path, *, precision: str = "auto") -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_compute, args=(theirs, model, precision), daemon=True)
        self._process.start()
        self.precision: str = self._ours.recv()

    def one_at_a_time(self, count: int) -> list[float]:
        """Decode and predict `count` single images, and return the seconds of each."""
        return self._ask("one", 1, count)

    def per_second(self, chunk: int, count: int) -> float:
        """Images per second, in chunks of this size."""
        return count / sum(self._ask("many", chunk, count))

    def close(self) -> None:
        self._ours.send(None)
        self._process.join(20)

    def _ask(self, *what: object) -> Any:
        self._ours.send(what)
        return self._ours.recv()


def _compute(pipe: Connection, model: Path, precision: Any) -> None:
    import torch

    from breedclf.data.decoding import decode_image
    from breedclf.inference.classifier import Classifier
    from breedclf.runtime.machine import available_cores
    from breedclf.serving.requests import single_core_threads

    classifier = Classifier(model, precision=precision)
    pictures = photographs(32)
    decoders = single_core_threads(available_cores())

    def decode(image: bytes) -> torch.Tensor:
        return classifier.card.preprocessing.view(decode_image(image, "the image"), 0)

    def seconds_of(number: int, chunk: int) -> float:
        started = time.perf_counter()
        files = [pictures[(number * chunk + each) % len(pictures)] for each in range(chunk)]
        inputs = [decode(files[0])] if chunk == 1 else list(decoders.map(decode, files))
        classifier.probabilities_of_inputs(torch.stack(inputs))
        return time.perf_counter() - started

    for chunk in (1, *CHUNKS):
        seconds_of(0, chunk)
    pipe.send(classifier.precision)
    while (request := pipe.recv()) is not None:
        _, chunk, count = request
        pipe.send([seconds_of(number, chunk) for number in range(math.ceil(count / chunk))])


@dataclass
class Traffic:
    """The outcome of requests: seconds until each response, by kind of response, and the client's CPU time.

    `settled` are those of `answered` that were asked after the first second, in which all clients come at one moment.
    """

    clients: int
    answered: list[float] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    lost: int = 0
    seconds: float = 0.0
    client_cpu_seconds: float = 0.0

    def add(self, other: Traffic) -> None:
        self.answered += other.answered
        self.settled += other.settled
        self.refused += other.refused
        self.lost += other.lost
        self.seconds += other.seconds
        self.client_cpu_seconds += other.client_cpu_seconds

    @property
    def per_second(self) -> float:
        return len(self.answered) / self.seconds

    def summary(self) -> dict[str, Any]:
        total = len(self.answered) + len(self.refused) + self.lost
        return {
            "clients": self.clients,
            "requests": total,
            "answered": len(self.answered),
            "refused": len(self.refused),
            "lost": self.lost,
            "per_second": self.per_second,
            "offered_per_second": total / self.seconds,
            "p50": statistics.median(self.settled),
            "p99": percentile(self.settled, 0.99),
            "refused_p50": statistics.median(self.refused) if self.refused else None,
            "refused_p99": percentile(self.refused, 0.99) if self.refused else None,
            "client_cpu_milliseconds_a_request": 1000 * self.client_cpu_seconds / total,
        }


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def send_traffic(port: int, made: list[bytes], *, clients: int, answers: int) -> Traffic:
    """Closed loop: each client sends the next request after a response, until the number of responses is reached.

    Each keeps one connection and sends bytes that were made before, so that the client costs little: it runs on the
    server's cores. One that is refused asks again after once to twice the server's `Retry-After`, as clients do that
    don't want to come back all at the same moment.
    """
    numbers, traffic, lock = itertools.count(), Traffic(clients), threading.Lock()
    done, draw = threading.Event(), random.Random(0)

    def client() -> None:
        with _Connection(port) as connection:
            while not done.is_set():
                started = time.perf_counter()
                status, head = connection.ask(made[next(numbers) % len(made)])
                seconds = time.perf_counter() - started
                with lock:
                    if done.is_set():
                        return
                    if status == 200:
                        traffic.answered.append(seconds)
                        if started > settled:
                            traffic.settled.append(seconds)
                    elif status == 503:
                        traffic.refused.append(seconds)
                    else:
                        traffic.lost += 1
                    if len(traffic.answered) + traffic.lost >= answers:
                        done.set()
                if status == 503:
                    done.wait(_retry_after(head) * (1 + draw.random()))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    settled = time.perf_counter() + SETTLING_SECONDS
    started, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    done.wait()
    traffic.seconds = time.perf_counter() - started
    traffic.client_cpu_seconds = time.process_time() - cpu
    for thread in threads:
        thread.join()
    return traffic


class _Connection:
    """One client's connection, reopened if the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """The status (0 for none) and headers of the response."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=120)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(request)
            head, _, body = self._until(b"", b"\r\n\r\n").partition(b"\r\n\r\n")
            lower = head.lower()
            left = int(lower.partition(b"content-length:")[2].split(b"\r\n")[0]) - len(body)
            while left > 0:
                left -= len(self._more())
            if b"connection: close" in lower:
                self._close()
            return int(head[9:12]), lower
        except (OSError, ValueError):
            self._close()
            return 0, b""

    def _until(self, received: bytes, end: bytes) -> bytes:
        while end not in received:
            received += self._more()
        return received

    def _more(self) -> bytes:
        assert self._socket is not None
        part = self._socket.recv(65_536)
        if not part:
            raise ConnectionError("the server closed the connection")
        return part

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None


def image_request(image: bytes, path: str) -> bytes:
    """A complete request with a JPEG file as the body."""
    return _request(image, path, "image/jpeg")


def form_request(image: bytes, path: str) -> bytes:
    """A complete request with a JPEG file as the form field `image`."""
    edge = "a-line-that-no-image-holds"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="dog.jpg"\r\n\r\n'
    return _request(
        head.encode() + image + f"\r\n--{edge}--\r\n".encode(), path, f"multipart/form-data; boundary={edge}"
    )


def _request(body: bytes, path: str, kind: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def _retry_after(head: bytes) -> float:
    text = head.partition(b"retry-after:")[2].split(b"\r\n")[0].strip()
    return float(text) if text else 0.0


@contextmanager
def served(
    command: Sequence[str], port: int, request: bytes, *, log: Path = Path(os.devnull)
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A server process, and the seconds from its start to its first response; `log` gets what it prints."""
    started = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        with _Connection(port) as connection:
            while connection.ask(request)[0] != 200:
                assert process.poll() is None, f"the server ended with {process.returncode}"
                assert time.perf_counter() - started < START_SECONDS, "the server doesn't respond"
                time.sleep(0.005)
        yield process, time.perf_counter() - started
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for each in children:  # some servers leave child processes behind
            with suppress(psutil.NoSuchProcess):
                each.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
