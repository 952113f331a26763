"""Import timm without torch's compiler, which it needs for one of its networks only.

timm decorates methods of NaFlexViT with `torch.compiler.disable`, which imports the compiler: most of timm's import
time. Within `compiler_deferred` the decorator leaves that to whatever compiles a network. (timm 1.0, torch 2.15.)
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_COMPILER = "torch._dynamo"


@contextmanager
def compiler_deferred() -> Iterator[None]:
    """Make `torch.compiler.disable` decorate without importing the compiler within the block."""
    if _COMPILER in sys.modules:
        yield
        return
    disable = torch.compiler.disable
    torch.compiler.disable = functools.partial(_disabled, disable)
    try:
        yield
    finally:
        torch.compiler.disable = disable


def _disabled(disable: Callable[..., Any], function: Any = None, *arguments: Any, **options: Any) -> Any:
    if not callable(function) or isinstance(function, type) or arguments or options:
        return disable(function, *arguments, **options)

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        compiles = _COMPILER in sys.modules
        return (disable(function) if compiles else function)(*arguments, **options)

    call._torchdynamo_disable = True  # type: ignore[attr-defined]
    call._torchdynamo_disable_msg = None  # type: ignore[attr-defined]
    return call
