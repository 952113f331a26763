"""A tiny model that answers in milliseconds, synthetic images, and real servers on real ports."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import urllib3
from PIL import Image

from breedclf.data.preprocessing import Preprocessing
from breedclf.inference.classifier import Classifier
from breedclf.inference.feature_bank import FeatureBank, LimitedBank
from breedclf.inference.model_directory import read_artifact, write_artifact
from breedclf.models.backbones.backbone import find_backbone
from breedclf.serving.http.app import Service
from breedclf.serving.listening import listen, url_of
from breedclf.serving.server import Server
from tests.families.conftest import telling
from tests.waiting import until

CLASSES = ("Affenpinscher", "Beagle", "Wélsh <Corgi>", "Dhole", "Ékszer", "Fox", "Golden")
_SERVING = "breedclf: serving on "


def write_tiny_model(
    folder: Path,
    *,
    seed: int = 0,
    min_confidence: float | None = None,
    crop_px: int = 32,
    bank: LimitedBank | None = None,
    light: bool = False,
) -> Path:
    """A resnet18 with random weights for small inputs; or a light network of 1.5 MB, for tests that upload it."""
    architecture = "shufflenet_v2_x0_5" if light else "resnet18"
    card: dict[str, Any] = {
        "architecture": architecture,
        "labels": tuple(f"{number:03}.{name}" for number, name in enumerate(CLASSES, 1)),
        "class_names": CLASSES,
        "preprocessing": Preprocessing(resize_px=crop_px + 4, crop_px=crop_px),
        "min_confidence": min_confidence,
    }
    network = find_backbone(architecture).new_network(seed=seed, classes=len(CLASSES))
    if light:  # its answers to all images would be alike
        views = torch.stack([card["preprocessing"].view(draw(number), 0) for number in range(8)])
        telling(network, card["preprocessing"].normalize(views))
    write_artifact(folder, card, network.state_dict(), bank=bank)
    return folder


def write_trusted_model(folder: Path) -> Path:
    """The same with a feature bank and with exact maps of 2 x 2: `draw(5)` is known, `draw(6)` is beyond the limit."""
    classifier = Classifier(write_tiny_model(folder, crop_px=64))
    features = classifier.features([draw(5, width=640, height=480), draw(6, width=640, height=480)])
    bank = FeatureBank(torch.nn.functional.normalize(features[:1], dim=1), neighbor=1)
    limit = float(bank.distances(features[1:])) / 2
    return write_tiny_model(folder, crop_px=64, bank=LimitedBank(bank, limit, 0.95, "valid", 40))


def write_model_with_bank(folder: Path, *, threshold: float = 0.01) -> Path:
    """The same model, which knows the first 12 images of `draw`: each is in its bank twice, and others are far away."""
    write_tiny_model(folder)
    card, state = read_artifact(folder)
    features = Classifier(folder, precision="fp32").features([draw(seed) for seed in range(12)])
    rows = torch.nn.functional.normalize(features, dim=1).half().repeat(2, 1)
    bank = LimitedBank(FeatureBank(rows, 2), threshold, 0.95, "valid", 50)
    write_artifact(folder, card.model_dump(exclude={"weights_sha256", "feature_bank"}), state, bank=bank)
    return folder


def draw(seed: int = 0, *, width: int = 80, height: int = 60) -> Image.Image:
    """An image of colored blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def trusted_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trusted_model(tmp_path_factory.mktemp("trusted") / "model")


@pytest.fixture(scope="session")
def model_with_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_with_bank(tmp_path_factory.mktemp("bank") / "model")


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same kind of model with other weights."""
    return write_tiny_model(tmp_path_factory.mktemp("other") / "model", seed=1)


@contextlib.contextmanager
def running(model: Path | None, service: Service | None = None) -> Iterator[tuple[str, Server]]:
    """A server on a free port, in a thread; its model is loaded when this returns."""
    server = Server(service or Service())
    loaded = threading.Event()
    with listen("127.0.0.1", 0) as listener:
        if model is not None:
            server.load_in_background(model, then=loaded.set)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            assert model is None or loaded.wait(60), server.failure
            until(lambda: server.started)
            yield url_of(listener), server
        finally:
            server.should_exit = True
            thread.join(40)
            assert not thread.is_alive()


@contextlib.contextmanager
def serving_process(model: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server in a process of its own: its URL, and the process."""
    command = [sys.executable, "-m", "breedclf.serving", "serve", str(model), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said: list[str] = []
        assert process.stderr is not None
        threading.Thread(target=said.extend, args=(process.stderr,), daemon=True).start()
        try:
            until(lambda: any(_SERVING in line for line in said))
            yield (
                next(line for line in said if _SERVING in line).split(_SERVING)[1].strip(),
                psutil.Process(process.pid),
            )
        finally:
            process.terminate()
            assert process.wait(40) == 0


def post(url: str, body: bytes, content_type: str | None = "image/jpeg", **headers: str) -> urllib3.BaseHTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        named["Content-Type"] = content_type
    with urllib3.PoolManager(retries=False) as pool:
        return pool.request("POST", url, body=body, headers=named, timeout=60)


def raw(url: str, request: bytes, *, seconds: float = 20) -> bytes:
    """What comes back for these very bytes, until the server closes or says nothing for a while."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(request)
        received = b""
        with contextlib.suppress(OSError):
            while part := connection.recv(65_536):
                received += part
    return received


@pytest.fixture(scope="session")
def server_url(model: Path) -> Iterator[str]:
    with running(model) as (url, _):
        yield url


@pytest.fixture(scope="session")
def trusted_url(trusted_model: Path) -> Iterator[str]:
    with running(trusted_model) as (url, _):
        yield url
