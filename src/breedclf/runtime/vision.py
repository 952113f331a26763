"""Import torchvision without torch's compiler, which it needs for RoIAlign only.

torchvision imports one function of `torch._dynamo.utils` for an operator that classifiers don't use. Importing that
module takes nearly half of the import time of torch and torchvision together, so it is deferred until the function is
called. (torchvision 0.29, `ops/roi_align.py`.)
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo.utils"
_DEFERRED = "is_compile_supported"


class _LaterModule(ModuleType):
    """A placeholder for the compiler's module, which is imported once the deferred function is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == _DEFERRED:
            return lambda *arguments: getattr(_compiler(), name)(*arguments)
        return getattr(_compiler(), name)


def _compiler() -> ModuleType:
    if isinstance(sys.modules.get(_COMPILER), _LaterModule):
        del sys.modules[_COMPILER]
    return importlib.import_module(_COMPILER)


@contextmanager
def _compiler_deferred() -> Iterator[None]:
    if _COMPILER in sys.modules:
        yield
        return
    later = sys.modules[_COMPILER] = _LaterModule(_COMPILER)
    try:
        yield
    finally:
        if sys.modules.get(_COMPILER) is later:
            del sys.modules[_COMPILER]


with _compiler_deferred():
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
