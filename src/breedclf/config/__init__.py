"""The typed settings, from Python, files, the environment, flags and hyperparameters.

Names are loaded on first use: the limits and the old names are needed by processes that can't wait for pydantic. The
stub `__init__.pyi` lists them.
"""

from __future__ import annotations

from breedclf import _lazy_names


def __getattr__(name: str) -> object:
    value = globals()[name] = _lazy_names.load(__name__, name)
    return value
