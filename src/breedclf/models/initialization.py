"""Random weights drawn from a generator of their own, or not drawn at all; torch's global generator isn't used."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWING = (
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    torch.normal,
    torch.rand,
    torch.randn,
    torch.randint,
    torch.randperm,
)


def _draws(func: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a function draws random numbers; those of `torch.nn.init` pass their generator on, usually None."""
    return func in _DRAWING or "generator" in kwargs


class DrawnFrom(TorchFunctionMode):
    """Within it this thread's new layers draw their weights from `seed`, as after `torch.manual_seed(seed)`."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return func(*args, **(kwargs | {"generator": self._generator} if _draws(func, kwargs) else kwargs))


class NotDrawn(TorchFunctionMode):
    """Within it this thread's new layers have no initial weights: they are overwritten in any case.

    On the meta device drawing them would also load torch's compiler.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.rand, torch.randn):
            return torch.empty(*args, **{name: value for name, value in kwargs.items() if name != "generator"})
        if _draws(func, kwargs):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
