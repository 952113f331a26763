"""The step size over a training, as a pure function of the step: what resumes needs no state of it."""

from __future__ import annotations

import math

from breedclf.config import TrainingConfig

ONE_CYCLE_RISE = 0.3
_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = 1e-4
_WARMUP_SHARE = 0.1


def schedule_of(config: TrainingConfig) -> str:
    """constant, cosine or one_cycle."""
    if config.schedule == "auto":
        return "constant" if config.freeze == "head" else "cosine"
    return config.schedule


def warmup_epochs(config: TrainingConfig) -> float:
    """Epochs in which the step sizes rise.

    Example:
        >>> warmup_epochs(TrainingConfig(data="x", freeze="layer4", epochs=5))
        0.5
    """
    if config.warmup_epochs is not None:
        return config.warmup_epochs
    match schedule_of(config):
        case "constant":
            return 0.0
        case "one_cycle":
            return ONE_CYCLE_RISE * config.epochs
    return _WARMUP_SHARE * config.epochs


def rate_factor(config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """What each learning rate is multiplied with at a step, counted from 0 over the whole training.

    A cosine falls from 1 after the warm-up to 0 after the last step; one cycle rises from 1/25 to 1 and falls to 1e-4,
    both along a half cosine. Warm-up of the other two is linear, and its first step isn't zero.

    Example:
        >>> config = TrainingConfig(data="x", epochs=2, schedule="cosine", warmup_epochs=1)
        >>> [round(rate_factor(config, step, 4), 2) for step in range(8)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    total = config.epochs * steps_per_epoch
    rise = min(total, round(warmup_epochs(config) * steps_per_epoch))
    kind = schedule_of(config)
    if kind == "one_cycle":
        if step < rise:
            return _half_cosine(_ONE_CYCLE_START, 1.0, step / rise)
        return _half_cosine(1.0, _ONE_CYCLE_END, (step - rise) / max(1, total - 1 - rise))
    if step < rise:
        return (step + 1) / rise
    return 1.0 if kind == "constant" else _half_cosine(1.0, 0.0, (step - rise) / max(1, total - rise))


def _half_cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2
