"""The results of one part, which are in a file as soon as they are known."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch

from benchmarks.gpu.plan import Sizes
from breedclf.config import Device

NEEDS_CUDA = "needs CUDA"
_LONGEST_REASON = 1_500


def write_json(path: Path, value: object) -> None:
    """Write a file that is whole at any time."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def shortened(reason: str) -> str:
    """The start and the end of a long reason."""
    half = _LONGEST_REASON // 2
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:half]} ... {reason[-half:]}"


@dataclass(frozen=True)
class Setup:
    """What all parts share: a folder for images, caches and models, the device's name, and the sizes."""

    folder: Path
    device: Device
    sizes: Sizes

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.device)

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def large_images(self) -> Path:
        return self.folder / "large-images"

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        found = json.loads(text)
        tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in found["sizes"].items()}
        return cls(Path(found["folder"]), found["device"], Sizes(**tuples))


class Notes:
    """Results by name. What fails is noted with its reason, and the rest goes on."""

    def __init__(self, path: Path, *, on_gpu: bool) -> None:
        self._path, self._on_gpu = path, on_gpu
        self.found: dict[str, Any] = {}

    def __setitem__(self, name: str, value: object) -> None:
        self.found[name] = value
        write_json(self._path, self.found)

    def measure(self, name: str, work: Callable[[], object], *, needs_cuda: bool = False) -> None:
        """Note what `work` returns, or why it failed."""
        if needs_cuda and not self._on_gpu:
            self[name] = NEEDS_CUDA
            return
        started = time.perf_counter()
        with self.trying(name):
            self[name] = work()
            print(f"    {name}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """Note why the block failed, if it does."""
        try:
            yield
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the rest goes on
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            self[name] = {"failed": shortened(f"{type(error).__name__}: {error} ({where})")}


def failures(found: object, path: str = "") -> list[str]:
    """The names of everything that failed, however deep.

    Example:
        >>> failures({"pass": {"nvJPEG": {"failed": "no such device"}, "CPU": 3.0}})
        ['pass/nvJPEG']
    """
    if not isinstance(found, dict):
        return []
    if "failed" in found:
        return [path]
    return [each for name, value in found.items() for each in failures(value, f"{path}/{name}".lstrip("/"))]
