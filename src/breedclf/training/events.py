"""The hooks of one run: checked at its start, called in order, and closed in every case."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from breedclf.config import nearest
from breedclf.errors import ConfigError
from breedclf.runtime.timers import StepTimer
from breedclf.training.hooks import Hook, TrainingHook, timer_of

if TYPE_CHECKING:
    from breedclf.features.progress import FeatureProgress
    from breedclf.training.records import TrainingPlan
    from breedclf.training.results.result import FitResult

log: logging.Logger = logging.getLogger(__name__)

EVENTS: tuple[str, ...] = tuple(name for name in vars(TrainingHook) if name.startswith("on_"))
_METHODS = (*EVENTS, "close")
_ARGUMENTS = {name: len(inspect.signature(getattr(TrainingHook, name)).parameters) - 1 for name in _METHODS}
_FEATURES_SECONDS = 0.1  # the least time between two `on_features`


class Events:
    """Calls the hooks of one run; as a context manager it reports its failure to them and closes them.

    Raises:
        ConfigError: an object isn't a hook, or a method has a wrong name or signature.
    """

    def __init__(self, hooks: Sequence[Hook] = ()) -> None:
        check_hooks(hooks)
        self._hooks: tuple[Hook, ...] = tuple({id(hook): hook for hook in hooks}.values())
        self._features_due = 0.0

    @cached_property
    def timer(self) -> StepTimer:
        """Receives the parts of each step, for all hooks that have a timer."""
        return timer_of(self._hooks)

    def calls(self, event: str) -> list[Callable[..., None]]:
        """The methods of all hooks for this event; those that do nothing are left out."""
        found = (getattr(hook, event, None) for hook in self._hooks)
        return [method for method in found if method is not None and not _does_nothing(method, event)]

    def start(self, plan: TrainingPlan) -> None:
        """The run has been planned."""
        for call in self.calls("on_start"):
            call(plan)

    def features(self, progress: FeatureProgress) -> None:
        """More images are done before training."""
        now = time.monotonic()
        if now >= self._features_due or progress.done == progress.total:
            self._features_due = now + _FEATURES_SECONDS
            for call in self.calls("on_features"):
                call(progress)

    def end(self, result: FitResult) -> None:
        """The model is written."""
        for call in self.calls("on_end"):
            _logged(call, result)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        with ExitStack() as closing:
            for call in reversed(self.calls("close")):
                closing.callback(_logged, call)
            if error is not None:
                for call in self.calls("on_failure"):
                    _logged(call, error)


def _logged(call: Callable[..., None], *values: object) -> None:
    """Call a hook whose exceptions must neither hide another one nor lose a model."""
    try:
        call(*values)
    except Exception:
        log.exception("a hook failed in %s; this doesn't change the result of the run", _name(call))


def _does_nothing(method: object, event: str) -> bool:
    return getattr(method, "__func__", None) is getattr(TrainingHook, event)


def _name(call: Callable[..., None]) -> str:
    return getattr(call, "__qualname__", None) or repr(call)


def check_hooks(hooks: Sequence[Hook]) -> None:
    """Check what a user passes as hooks.

    Raises:
        ConfigError: an object isn't a hook, or a method has a wrong name or signature.
    """
    if isinstance(hooks, str) or not isinstance(hooks, Sequence):
        raise ConfigError(f"hooks must be a list of hooks, not {type(hooks).__name__}: use hooks=[hook]")
    for hook in hooks:
        _check(hook)


def _check(hook: Any) -> None:
    name = type(hook).__name__
    if isinstance(hook, type):
        raise ConfigError(f"hooks: {hook.__name__} is a class; pass an instance, {hook.__name__}()")
    for event in dir(hook):
        if event.startswith("on_") and event not in EVENTS and callable(getattr(hook, event, None)):
            raise ConfigError(f"hooks: {name}.{event} is no event of a training run: {nearest(event, EVENTS)}")
    found = [each for each in _METHODS if getattr(hook, each, None) is not None]
    if not found and getattr(hook, "timer", None) is None:
        raise ConfigError(f"hooks: {name} has none of the methods of a hook: {', '.join(_METHODS)}")
    for event in found:
        _check_method(getattr(hook, event), f"{name}.{event}", _ARGUMENTS[event])


def _check_method(method: Any, name: str, count: int) -> None:
    if not callable(method):
        raise ConfigError(f"hooks: {name} must be a method, not {type(method).__name__}")
    if inspect.iscoroutinefunction(method):
        raise ConfigError(f"hooks: {name} is async, but hooks are called directly: use a plain method")
    try:
        inspect.signature(method).bind(*[None] * count)
    except TypeError as error:
        raise ConfigError(f"hooks: {name} must take {count} argument(s): {error}") from None
    except ValueError:
        pass  # a function of an extension module, without a signature
