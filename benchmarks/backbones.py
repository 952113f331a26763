"""The frozen forward pass of several families, fused, in fp32 and bf16, over eager fp32.

Eager fp32 is the network as torchvision or timm makes it, in fp32 and torch's default memory format. The weights are
random, which changes nothing about the speed.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.forward import finished
from benchmarks.measuring import at_least, at_most, interleaved, parser_for, ratios, report
from breedclf.config.choices import Precision
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.network import frozen_backbone
from breedclf.runtime.device import compute_for

BATCH = 16
NETWORKS = ("timm:tf_efficientnet_lite0", "convnext_tiny", "timm:vit_small_patch16_224", "resnet50")
LEAST = 2.0
MOST_DIFFERENCE = {"fp32": 1e-4, "bf16": 0.03}
"""Of the features, relative to their norm."""


def main() -> int:
    parser = parser_for(__doc__, quick={"repeats": 1, "only": list(NETWORKS[:1])})
    parser.add_argument("--repeats", type=int, default=5, help="repeats (default: 5)")
    parser.add_argument("--only", nargs="+", default=list(NETWORKS), metavar="NETWORK", help="networks to measure")
    given = parser.parse_args()
    goals: list[dict[str, Any]] = []
    details: dict[str, Any] = {"precision": compute_for("auto", "auto").precision}
    for name in given.only:
        found = details[name] = compared(name, given.repeats)
        auto = details["precision"]
        goals.append(at_least(f"{name}: {auto} over eager fp32, of minima", found[auto]["ratio of minima"], LEAST))
        goals.append(
            at_most(f"{name}: difference of {auto} features", found[auto]["difference"], MOST_DIFFERENCE[auto])
        )
    return report("backbones", goals, details, given)


def compared(name: str, repeats: int) -> dict[str, Any]:
    """Seconds of eager fp32 and of each precision in turn; ratios of the CPU seconds too, for busy machines."""
    backbone = find_backbone(name)
    state = backbone.without_head(backbone.new_network(seed=0, classes=1).state_dict())
    images = torch.randn(BATCH, 3, backbone.side_px, backbone.side_px, generator=torch.Generator().manual_seed(0))
    device = compute_for("auto", "auto").device
    inputs = images.to(device)
    plain = backbone.headless({key: value.clone() for key, value in state.items()}).to(device)
    works: dict[str, Callable[[], torch.Tensor]] = {"eager fp32": lambda: finished(plain(inputs))}
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        compute = compute_for("auto", precision)
        ours = frozen_backbone(name, {key: value.clone() for key, value in state.items()}, compute)
        laid_out = inputs.to(compute.dtype).contiguous(memory_format=torch.channels_last)
        works[precision] = lambda ours=ours, laid_out=laid_out: finished(ours(laid_out))
    with torch.inference_mode():
        features = {key: work().float() for key, work in works.items()}
        seconds = interleaved(works, repeats)
    wanted = features.pop("eager fp32")
    return {
        precision: {
            "difference": float((found - wanted).norm() / wanted.norm()),
            "images_per_second": BATCH / statistics.median(seconds[precision]["wall"]),
            "ratio": ratios(seconds["eager fp32"]["wall"], seconds[precision]["wall"]),
            "ratio of minima": min(seconds["eager fp32"]["wall"]) / min(seconds[precision]["wall"]),
            "ratio of CPU seconds": ratios(seconds["eager fp32"]["cpu"], seconds[precision]["cpu"]),
        }
        for precision, found in features.items()
    } | {"seconds": seconds}


if __name__ == "__main__":
    sys.exit(main())
