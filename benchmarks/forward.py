"""The frozen forward pass compared with eager fp32, with matrix products (this machine's limit), and with OpenVINO.

OpenVINO and torch take turns in processes of their own, since their threads would slow each other down in one.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torchvision.models import resnet50

from benchmarks.measuring import arguments, at_least, interleaved, quickest_precision, ratios, report
from breedclf.models.backbones.backbone import StateDict
from breedclf.models.network import frozen_backbone
from breedclf.runtime.device import compute_for

BATCH = 32
SIZES = (2048, 4096)
GFLOP_PER_IMAGE = 8.2  # ResNet-50 at 224 px, a multiplication and an addition counted as two


def main() -> int:
    given = arguments(__doc__, needs_data=False)
    compute = compute_for("auto", "auto")
    plain = resnet50().eval().to(compute.device)
    ours = frozen_backbone("resnet50", drawn(), compute)
    pictures = torch.randn(BATCH, 3, 224, 224, device=compute.device)
    laid_out = pictures.to(compute.dtype).contiguous(memory_format=torch.channels_last)
    matrices = {size: torch.randn(size, size, device=compute.device).to(compute.dtype) for size in SIZES}

    def product(size: int) -> Callable[[], object]:
        return lambda: finished(matrices[size] @ matrices[size])

    works: dict[str, Callable[[], object]] = {
        "eager fp32": lambda: finished(plain(pictures)),
        "ours": lambda: finished(ours(laid_out)),
        **{f"product of {size}": product(size) for size in SIZES},
    }
    with torch.inference_mode():
        for work in works.values():
            work()
        seconds = interleaved(works, given.repeats)
    median = {name: statistics.median(each["wall"]) for name, each in seconds.items()}
    gflops = {size: 2 * size**3 / median[f"product of {size}"] / 1e9 for size in SIZES}
    rate = BATCH / median["ours"]
    reference = max(gflops.values()) / GFLOP_PER_IMAGE
    goals = [
        at_least("frozen forward over eager fp32 of the same run", median["eager fp32"] / median["ours"], 4.0),
        at_least("frozen forward, relative to the fastest matrix product", rate / reference, 0.85),
    ]
    runs = in_processes(given.repeats, int8=not given.quick)
    for name, seconds_of in runs.items():
        if name != "ours":
            goals.append(at_least(f"{name} over ours, interleaved", ratios(runs["ours"], seconds_of)["median"], 1.3))
    details = {
        "precision": compute.precision,
        "in processes of their own": {name: {"wall": found} for name, found in runs.items()},
        "images_per_second": {"ours": rate, "eager fp32": BATCH / median["eager fp32"], "reference": reference},
        "gflops_of_products": gflops,
        "seconds": seconds,
    }
    return report("forward", goals, details, given)


def drawn() -> StateDict:
    return {name: value for name, value in resnet50().state_dict().items() if not name.startswith("fc.")}


def in_processes(repeats: int, *, int8: bool) -> dict[str, list[float]]:
    """Seconds per batch for each engine, one process at a time; int8 is calibrated on noise, for a minute."""
    if find_spec("openvino") is None or torch.cuda.is_available():
        print("  OpenVINO skipped: it isn't installed, or the other engines ran on a GPU", file=sys.stderr)
        return {}
    precision = quickest_precision()
    engines = {"ours": "torch", f"OpenVINO in {precision}": precision}
    engines |= {"OpenVINO in int8": "int8"} if int8 else {}
    runs: dict[str, list[float]] = {name: [] for name in engines}
    for repeat in range(repeats):
        for name, engine in engines.items():
            code = f"from benchmarks.forward import one_process; one_process({engine!r})"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            runs[name].append(float(done.stdout.splitlines()[-1]))
            print(f"  {repeat + 1}/{repeats} {name}, alone: {runs[name][-1]:.2f} s", file=sys.stderr, flush=True)
    return runs


def one_process(engine: str) -> None:
    """Print the median seconds of five batches after two warm-up batches."""
    from breedclf.features.openvino import OpenVinoBackbone
    from breedclf.features.openvino_maker import converted, quantized

    pictures = torch.randn(BATCH, 3, 224, 224)
    if engine == "torch":
        compute = compute_for("auto", "auto")
        backbone = frozen_backbone("resnet50", drawn(), compute)
        pictures = pictures.to(compute.dtype).contiguous(memory_format=torch.channels_last)
    else:
        model = converted("resnet50", drawn(), 224)
        if engine == "int8":
            model = quantized(model, list(pictures[:8]), lambda picture: picture[None].numpy())
        backbone = OpenVinoBackbone(model, engine)
    seconds = []
    with torch.inference_mode():
        for _ in range(7):
            started = time.perf_counter()
            backbone(pictures)
            seconds.append(time.perf_counter() - started)
    print(statistics.median(seconds[2:]))


def finished(result: torch.Tensor) -> torch.Tensor:
    """A result once the device has computed it."""
    if result.is_cuda:
        torch.cuda.synchronize()
    return result


if __name__ == "__main__":
    sys.exit(main())
