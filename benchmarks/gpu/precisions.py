"""Forward passes in each precision: images per second, and how far features drift from those of exact fp32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.networks import backbone, forward_rate, inputs
from benchmarks.gpu.notes import Notes, Setup
from benchmarks.gpu.timing import float32

BATCH = 128
_COMPARED = 32
_DRY_BATCH = 2


def run(setup: Setup, notes: Notes) -> None:
    batch = BATCH if setup.on_gpu else _DRY_BATCH
    torch.manual_seed(0)
    images = inputs(setup, min(_COMPARED, batch), torch.float32)
    exact: list[torch.Tensor] = []

    def one(
        make: Callable[[], nn.Module],
        dtype: torch.dtype = torch.float32,
        block: AbstractContextManager[None] = nullcontext(),  # noqa: B008 - it can be used again
        *,
        is_exact: bool = False,
    ) -> dict[str, Any]:
        with block:
            network = make()
            with torch.inference_mode():
                features = network(images.to(dtype)).float()
            rate = forward_rate(setup, network, batch, dtype)
            if is_exact:
                exact.append(features)
            return {"images_per_second": rate, **(drift(features, exact[0]) if exact else {})}

    def fp32() -> nn.Module:
        return backbone(setup, "fp32")[0]

    def bf16() -> nn.Module:
        return backbone(setup, "bf16")[0]

    notes["batch"] = batch
    notes.measure("fp32, exact", lambda: one(fp32, block=float32("ieee"), is_exact=True))
    notes.measure("fp32, TF32", lambda: one(fp32, block=float32("tf32")), needs_cuda=True)
    notes.measure("fp32, torch's defaults", lambda: one(fp32))
    notes.measure("bf16", lambda: one(bf16, torch.bfloat16))
    notes.measure("fp16", lambda: one(lambda: fp32().half(), torch.float16), needs_cuda=True)
    torch.backends.cudnn.benchmark = True  # to the end of this process
    notes.measure("bf16, cudnn.benchmark", lambda: one(bf16, torch.bfloat16), needs_cuda=True)
    notes["int8"] = "breedclf has no int8 on GPUs (only engine=openvino on CPUs); `facts` has the rate of int8 products"


def drift(features: torch.Tensor, exact: torch.Tensor) -> dict[str, float]:
    """How far features [N, D] are from exact ones.

    Example:
        >>> drift(torch.ones(2, 4), torch.ones(2, 4))
        {'relative_error': 0.0, 'smallest_cosine': 1.0}
    """
    wide, reference = features.double(), exact.double()
    cosine = torch.nn.functional.cosine_similarity(wide, reference, dim=1)
    error = (wide - reference).norm() / reference.norm()
    return {"relative_error": float(error), "smallest_cosine": round(float(cosine.min()), 9)}
