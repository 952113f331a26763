"""Your own training loss: made from what its import path names, checked on a small batch, called in each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from breedclf.errors import ConfigError, TrainingError
from breedclf.runtime.own_code import described, described_value
from breedclf.training.custom.calls import own_call, takes

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Maps scores float32 [B, C] and targets int64 [B] to their mean loss, a scalar tensor with a gradient."""

_BATCH = 4
_CONTRACT = "a loss takes scores float32 [B, C] and targets int64 [B], and returns their mean as a scalar tensor"


@dataclass(frozen=True)
class OwnLoss:
    """A loss that is a mean over images; `what` names it in messages."""

    function: LossFunction
    what: str

    def on(self, device: torch.device) -> OwnLoss:
        """The loss with its buffers on the device."""
        return OwnLoss(self.function.to(device), self.what) if isinstance(self.function, nn.Module) else self

    def mean(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean over a whole batch.

        Raises:
            TrainingError: it raised an exception, or returned something else than a scalar tensor.
        """
        try:
            loss = self.function(scores, targets)
        except Exception as error:
            raise TrainingError(f"{self.what} raised {described(error)}") from error
        if not isinstance(loss, torch.Tensor) or loss.shape:
            raise TrainingError(self._returned(loss))
        return loss

    def part(self, scores: torch.Tensor, targets: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        """The contribution of some images to the mean over a batch, whose targets are `whole`.

        Scores beyond `len(targets)` are ignored.
        """
        if not len(targets):
            return scores.sum() * 0.0
        return self.mean(scores[: len(targets)], targets) * (len(targets) / len(whole))

    def check(self, classes: int) -> None:
        """Call it once on a small batch.

        Raises:
            ConfigError: it fails, has weights of its own, or doesn't return a finite scalar with a gradient.
        """
        if isinstance(self.function, nn.Module) and (count := sum(1 for _ in self.function.parameters())):
            raise ConfigError(
                f"{self.what} has {count} parameter(s) that would not be trained: only the network is; make them "
                "buffers (register_buffer)"
            )
        random = torch.Generator().manual_seed(0)
        scores = torch.randn(_BATCH, classes, generator=random).requires_grad_()
        targets = torch.arange(_BATCH) % classes
        with own_call(self.what, error=ConfigError, warns=True):
            loss = self._checked(self.function(scores, targets))
            (gradient,) = torch.autograd.grad(loss, scores, allow_unused=True)
        if gradient is None:
            raise ConfigError(f"{self.what} doesn't depend on the scores; {_CONTRACT}")
        if not bool(gradient.isfinite().all()):
            raise ConfigError(f"{self.what} has a gradient that isn't finite, on scores that are")

    def _checked(self, loss: object) -> torch.Tensor:
        if not isinstance(loss, torch.Tensor) or loss.shape:
            raise ConfigError(self._returned(loss))
        if not loss.requires_grad:
            raise ConfigError(
                f"{self.what} returned a tensor without a gradient: compute it with torch from the scores, without "
                "item(), detach() or no_grad()"
            )
        if not bool(loss.isfinite()):
            raise ConfigError(f"{self.what} is {loss.item()} on finite scores")
        return loss

    def _returned(self, loss: object) -> str:
        if isinstance(loss, torch.Tensor):
            return f"{self.what} returned a tensor of shape {[*loss.shape]}, not a scalar: return its mean, .mean()"
        return f"{self.what} returned {described_value(loss)}; {_CONTRACT}"


def own_loss(found: Callable[..., object], what: str) -> OwnLoss:
    """A loss from what was imported: a function, an object that can be called, or a class or function that makes one.

    A class, and a function that takes no arguments, are called without arguments.

    Raises:
        ConfigError: it can't be called so.
    """
    if isinstance(found, type) or (takes(found, 0) and not takes(found, 2)):
        if not takes(found, 0):
            raise ConfigError(
                f"{what} is a class that needs arguments; name a function without arguments that makes the "
                f"loss, such as def my_loss(): return {found.__name__}(...)"
            )
        with own_call(what, error=ConfigError):
            made = found()
        if not callable(made):
            raise ConfigError(f"{what} made {described_value(made)}, which can't be called; {_CONTRACT}")
        found = made
    function = found.forward if isinstance(found, nn.Module) else found
    if not takes(function, 2):
        raise ConfigError(f"{what} can't be called with two arguments; {_CONTRACT}")
    return OwnLoss(found, what)  # type: ignore[arg-type]
