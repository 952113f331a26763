"""Calls of your own code: exceptions become errors that name it, and the global random state stays as it was."""

from __future__ import annotations

import inspect
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from breedclf.errors import BreedclfError, TrainingError
from breedclf.runtime.own_code import described

log: logging.Logger = logging.getLogger(__name__)


@contextmanager
def own_call(what: str, *, error: type[BreedclfError] = TrainingError, warns: bool = False) -> Iterator[None]:
    """Call your code within the block.

    If it changes the global random state of torch, NumPy or Python, that is restored, with a warning if `warns`.

    Raises:
        BreedclfError: your code raised an exception; of the type `error`, with the line where it arose.
    """
    before = _random_states()
    try:
        yield
    except BreedclfError:
        raise
    except Exception as raised:
        raise error(f"{what} raised {described(raised)}") from raised
    finally:
        changed = [name for name, state in _random_states().items() if not _same(state, before[name])]
        for name in changed:
            _RANDOM[name][1](before[name])
        if changed and warns:
            log.warning(
                "%s uses the global random state of %s, so that its results depend on what ran before; use a generator "
                "of your own (torch.Generator)",
                what,
                " and ".join(changed),
            )


def takes(function: Callable[..., object], count: int) -> bool:
    """Whether a function can be called with this many positional arguments; True if its signature isn't known."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a function of an extension
        return True
    return True


_RANDOM: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch": (torch.get_rng_state, torch.set_rng_state),
    "NumPy": (np.random.get_state, np.random.set_state),
    "Python": (random.getstate, random.setstate),
}


def _random_states() -> dict[str, Any]:
    return {name: get() for name, (get, _) in _RANDOM.items()}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return all(bool(np.array_equal(a, b)) for a, b in zip(one, other, strict=True))
