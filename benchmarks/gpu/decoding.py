"""JPEGs decoded by nvJPEG and by the CPU: images per second, and how far pixels are apart."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu.notes import NEEDS_CUDA, Notes, Setup
from benchmarks.gpu.timing import mean_seconds
from breedclf.data.decoding import PlainJpeg, decode_image, plain_jpeg
from breedclf.data.device_decoding import DevicePreprocessing, decode_jpegs
from breedclf.data.preprocessing import Preprocessing
from breedclf.runtime.machine import available_cores
from breedclf.runtime.threads import single_core_threads

BATCHES = (32, 128)


def run(setup: Setup, notes: Notes) -> None:
    for name, folder in (("500x400", setup.images), ("2000x1500", setup.large_images)):
        files = [path.read_bytes() for path in sorted((folder / "train").rglob("*.jpg"))[: max(BATCHES)]]
        notes.measure(f"{name}, CPU, images per second", lambda f=files: on_cpu(setup, f))
        for batch in BATCHES:
            notes.measure(
                f"{name}, nvJPEG, {batch} at a time, images per second",
                lambda f=files, b=batch: on_device(setup, f[:b]),
                needs_cuda=True,
            )
        notes.measure(f"{name}, differences", lambda f=files: differences(setup, f[:32]))
    if not setup.on_gpu:
        notes["nvJPEG's own rounding"] = NEEDS_CUDA


def on_cpu(setup: Setup, files: list[bytes]) -> dict[str, float]:
    """Decoding alone, by one thread and by one a core."""
    device = torch.device("cpu")
    seconds = setup.sizes.seconds
    some = files[:8]
    with single_core_threads(available_cores()) as pool:
        together = mean_seconds(lambda: list(pool.map(decode_image, files)), device, seconds=seconds)
    with single_core_threads(1) as pool:
        alone = mean_seconds(lambda: list(pool.map(decode_image, some)), device, seconds=seconds)
    return {"all cores": len(files) / together, "one core": len(some) / alone, "cores": available_cores()}


def on_device(setup: Setup, files: list[bytes]) -> float:
    found = plain(files)
    return len(found) / mean_seconds(
        lambda: decode_jpegs(found, setup.torch_device), setup.torch_device, seconds=setup.sizes.seconds
    )


def plain(files: list[bytes]) -> list[PlainJpeg]:
    found = [plain_jpeg(data) for data in files]
    return [jpeg for jpeg in found if jpeg is not None]


def differences(setup: Setup, files: list[bytes]) -> dict[str, Any]:
    """In levels of 255: of decoded images, and of the crops that are made of them."""
    ours, theirs = [decode_image(data) for data in files], decode_jpegs(plain(files), setup.torch_device)
    pairs = [(cpu, other) for cpu, other in zip(ours, theirs, strict=True) if other is not None]
    usual, on_device = Preprocessing(), DevicePreprocessing()
    crops = [(usual.view(cpu, 0), on_device.view(other, 0)) for cpu, other in pairs]
    return {
        "not decoded": len(theirs) - len(pairs),
        "pixels": _distance(pairs),
        "central crops": _distance(crops),
    }


def _distance(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    greatest = total = differing = 0.0
    for one, other in pairs:
        apart = (one.float() - other.cpu().float()).abs()
        greatest = max(greatest, float(apart.max()))
        total += float(apart.mean()) / len(pairs)
        differing += float((apart > 0).float().mean()) / len(pairs)
    return {"greatest": greatest, "mean": total, "share of values that differ": differing}
