"""The learning rate finder: the loss while the learning rate rises, and the rate that it suggests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from breedclf.config import TrainingConfig
from breedclf.data.given_images import GivenImages
from breedclf.data.training_data import load_data
from breedclf.errors import ConfigError
from breedclf.features.sources import make_sources
from breedclf.files.disk import write_output
from breedclf.files.paths import StrPath, user_path
from breedclf.models.model import build_model
from breedclf.reporting import Section, render_page
from breedclf.reporting.charts.lines import Reference, Series, line_chart
from breedclf.runtime.deterministic import repeatable
from breedclf.runtime.device import compute_of
from breedclf.training.custom.code import own_code
from breedclf.training.optimizers import new_optimizer
from breedclf.training.run_cache import RunCache
from breedclf.training.start_model import load_head, with_start_model
from breedclf.training.task import TrainingTask, training_task

_SMOOTHING = 0.9
_DIVERGED = 4.0
_FEWEST_STEPS = 10


@dataclass(frozen=True)
class LearningRateCurve:
    """The smoothed loss at each learning rate of the head, from low to high, until it diverged or the steps ended.

    `suggestion` is the rate at which the smoothed loss fell fastest, `lowest_loss_at` the one with the lowest smoothed
    loss. Both depend on the number of steps: with fewer steps the rate rises faster, the smoothed loss lags further
    behind, and both tend to be higher.
    """

    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float
    lowest_loss_at: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    def plot(self, path: StrPath) -> Path:
        """Write the curve as one self-contained HTML page with an inline SVG."""
        chart = line_chart(
            "Loss while the learning rate rises",
            [Series("training loss, smoothed", self.learning_rates, self.losses)],
            x_label="learning rate of the head",
            y_label="loss",
            log_x=True,
            references=[
                Reference(self.suggestion, f"suggestion {self.suggestion:.2g}"),
                Reference(self.lowest_loss_at, f"lowest {self.lowest_loss_at:.2g}"),
            ],
            full=True,
        )
        lead = "Each step used a higher learning rate than the one before; the trained weights are discarded."
        page = render_page(
            "Learning rate",
            [Section("Loss and learning rate", [chart], lead=lead)],
            summary=[f"Suggestion: {self.suggestion:.2g}, where the loss falls fastest."],
        )
        path = user_path(path, "path")
        write_output(path, page)
        return path


def find_learning_rate(
    config: TrainingConfig,
    images: GivenImages | None = None,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
) -> LearningRateCurve:
    """Train for some steps while the learning rate rises exponentially; only cached features are written.

    The learning rates of other stages keep their ratio to the head's.

    Raises:
        ConfigError: the range is empty, or there are fewer than 10 steps.
        DataError: the images can't be used.
        WeightsError: the pretrained weights can't be downloaded or read, or don't fit.
    """
    if not 0 < lowest < highest or steps < _FEWEST_STEPS:
        raise ConfigError(
            f"lowest={lowest:g}, highest={highest:g}, steps={steps}: rates must rise, in {_FEWEST_STEPS} steps or more"
        )
    config = with_start_model(config)
    data, compute = load_data(config, images), compute_of(config)
    own = own_code(config, data.class_counts)
    with repeatable(config.deterministic, device=compute.device.type, compiled=compute.compiled):
        pretrained = RunCache().pretrained(config)
        model = build_model(config, pretrained, classes=len(data.labels), compute=compute)
        task = training_task(config, data, model, make_sources(config, data, model, compute), own)
        load_head(config, data, model)
        rates = [lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)]
        return curve(rates, list(_losses(task, config, rates)))


def curve(rates: Sequence[float], losses: Sequence[float]) -> LearningRateCurve:
    """The curve of these raw losses, which may be fewer than the rates; it ends before the first NaN or infinite one.

    Raises:
        ConfigError: there are too few of them for a suggestion.
    """
    smooth: list[float] = []
    average = 0.0
    for step, loss in enumerate(itertools.takewhile(math.isfinite, losses), 1):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smooth.append(average / (1 - _SMOOTHING**step))
    if len(smooth) < _FEWEST_STEPS // 2:
        raise ConfigError(f"the loss diverged within {len(smooth)} steps: start at a lower rate than {rates[0]:g}")
    best = min(range(len(smooth)), key=smooth.__getitem__)
    falls = [smooth[at + 1] - smooth[at - 1] for at in range(1, best)]
    steepest = 1 + min(range(len(falls)), key=falls.__getitem__) if falls else best
    return LearningRateCurve(tuple(rates[: len(smooth)]), tuple(smooth), rates[steepest], rates[best])


def _losses(task: TrainingTask, config: TrainingConfig, rates: Sequence[float]) -> Iterator[float]:
    """The loss of each step, until it is far above the lowest."""
    module = task.module.train()
    optimizer = new_optimizer(module, config)
    least = math.inf
    for rate, (inputs, targets) in zip(rates, _endless(task, config), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] / config.learning_rate * rate
        loss = task.loss.mean(module(inputs), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        value = loss.item()
        yield value
        least = min(least, value)
        if not value <= _DIVERGED * least + 1e-3:
            return


def _endless(task: TrainingTask, config: TrainingConfig) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    order = torch.Generator().manual_seed(config.seed)
    source = task.source(1)
    for epoch in itertools.count(1):
        yield from source.batches(task.sampler.rows(source.targets, epoch, order), config.batch_size)
