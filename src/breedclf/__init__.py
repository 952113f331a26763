"""Fine-tune, tune, profile and deploy image classifiers, on this machine or on Amazon SageMaker.

Names are loaded on first use, so that `import breedclf` stays fast and needs neither torch nor boto3. The stub
`__init__.pyi` lists them.
"""

from __future__ import annotations

from importlib import import_module

from breedclf import _lazy_names
from breedclf._version import __version__ as __version__


def __getattr__(name: str) -> object:
    missing = import_module("breedclf.errors").MissingExtraError
    try:
        value = _lazy_names.load(__name__, name)
    except missing as error:  # the name stays usable in imports and annotations; its use says what to install
        unavailable: object = import_module("breedclf.runtime.extras").unavailable_class(name, error)
        return unavailable
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_lazy_names.names_of(__name__)))
