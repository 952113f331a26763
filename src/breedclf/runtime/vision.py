"""torchvision as everything here imports it: without torch's compiler, which it would load for RoIAlign alone.

torchvision asks `torch._dynamo.utils` for one function, which an operator uses that classifiers don't need. Loading
that module takes nearly half of the time that torch and torchvision take together, so that it is put off until somebody
calls the function. (torchvision 0.29, `ops/roi_align.py`.)
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo.utils"
_ASKED_FOR = "is_compile_supported"


class _LaterModule(ModuleType):
    """Stands for the compiler's module: gives the one function, which loads it when called, and loads it for others."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == _ASKED_FOR:
            return lambda *arguments: getattr(_compiler(), name)(*arguments)
        return getattr(_compiler(), name)


def _compiler() -> ModuleType:
    if isinstance(sys.modules.get(_COMPILER), _LaterModule):
        del sys.modules[_COMPILER]
    return importlib.import_module(_COMPILER)


@contextmanager
def _compiler_put_off() -> Iterator[None]:
    if _COMPILER in sys.modules:
        yield
        return
    later = sys.modules[_COMPILER] = _LaterModule(_COMPILER)
    try:
        yield
    finally:
        if sys.modules.get(_COMPILER) is later:
            del sys.modules[_COMPILER]


with _compiler_put_off():
    from torchvision import models
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.models import ResNet, WeightsEnum, get_model_weights
    from torchvision.models.resnet import BasicBlock, Bottleneck

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "ImageReadMode",
    "ResNet",
    "WeightsEnum",
    "decode_jpeg",
    "get_model_weights",
    "models",
]
