"""The frozen forward pass beside eager fp32 and beside matrix products, the limit of this machine."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import torch
from torchvision.models import resnet50

from benchmarks.measuring import arguments, at_least, interleaved, report
from breedclf.learning.device import compute_for
from breedclf.learning.model import frozen_backbone

BATCH = 32
SIZES = (2048, 4096)
GFLOP_PER_PICTURE = 8.2  # ResNet-50 at 224 px, a multiplication and an addition counted as two


def main() -> int:
    given = arguments(__doc__, needs_data=False)
    compute = compute_for("auto", "auto")
    plain = resnet50().eval().to(compute.device)
    state = {name: value for name, value in resnet50().state_dict().items() if not name.startswith("fc.")}
    ours = frozen_backbone("resnet50", state, compute)
    pictures = torch.randn(BATCH, 3, 224, 224, device=compute.device)
    laid_out = pictures.to(compute.dtype).contiguous(memory_format=torch.channels_last)
    matrices = {size: torch.randn(size, size, device=compute.device).to(compute.dtype) for size in SIZES}

    def product(size: int) -> Callable[[], object]:
        return lambda: _finished(matrices[size] @ matrices[size])

    works: dict[str, Callable[[], object]] = {
        "eager fp32": lambda: _finished(plain(pictures)),
        "ours": lambda: _finished(ours(laid_out)),
        **{f"product of {size}": product(size) for size in SIZES},
    }
    with torch.inference_mode():
        for work in works.values():
            work()
        seconds = interleaved(works, given.repeats)
    median = {name: statistics.median(each["wall"]) for name, each in seconds.items()}
    gflops = {size: 2 * size**3 / median[f"product of {size}"] / 1e9 for size in SIZES}
    rate = BATCH / median["ours"]
    reference = max(gflops.values()) / GFLOP_PER_PICTURE
    goals = [
        at_least("frozen forward over eager fp32 of the same run", median["eager fp32"] / median["ours"], 4.0),
        at_least("frozen forward, as a share of the better matrix product's rate", rate / reference, 0.85),
    ]
    details = {
        "precision": compute.precision,
        "images_per_second": {"ours": rate, "eager fp32": BATCH / median["eager fp32"], "reference": reference},
        "gflops_of_products": gflops,
        "seconds": seconds,
    }
    return report("forward", goals, details, given)


def _finished(result: torch.Tensor) -> torch.Tensor:
    if result.is_cuda:
        torch.cuda.synchronize()
    return result


if __name__ == "__main__":
    sys.exit(main())
