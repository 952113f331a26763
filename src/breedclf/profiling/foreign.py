"""Records a custom training loop: the user marks the end of each step, and hooks time its parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer

from breedclf.files.disk import write_output
from breedclf.files.paths import StrPath, user_path
from breedclf.profiling.profile import Profile
from breedclf.profiling.recorder import Recorder, Recording
from breedclf.profiling.report import render_report
from breedclf.profiling.rules import Finding, RuleChoice, check, choose_rules

Batch = TypeVar("Batch")


class ForeignLoop:
    """Returned by `ProfilingSession.record()`: call `step()` at the end of each step; everything else is optional."""

    def __init__(self, folder: Path | None, *, name: str, rules: RuleChoice, trace: bool) -> None:
        choose_rules(rules)
        self._rules = rules
        self._hooks: list[Any] = []
        recording = Recording(trace=trace, tensors=True)
        self._recorder = Recorder(
            folder, keep=folder is not None, name=name, recording=recording, source="foreign loop"
        )
        self._in_phase = False

    def phase(self, name: str, epoch: int = 0) -> None:
        """Start a phase, `train` or `valid`; without a call, all steps are `train`."""
        self._in_phase = True
        self._recorder.steps.phase(name, epoch)

    def lap(self, part: str) -> None:
        """Assign the time since the last lap to `data_wait`, `to_device`, `forward`, `backward` or `optimizer`."""
        self._ensure_phase()
        self._recorder.steps.lap(part)

    def step(self, images: int = 0, loss: float | None = None, *, pictures: int = 0) -> None:
        """End a step that processed this number of images, with the given loss; `pictures` is an alias of `images`."""
        self._ensure_phase()
        self._recorder.steps.step(images or pictures)
        if loss is not None:
            self._recorder.steps.losses([loss])

    def watch(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Time forward, backward and the optimizer with hooks, and take tensor snapshots at intervals."""
        self._recorder.steps.watch(model, optimizer)
        self._hooks.append(model.register_forward_pre_hook(lambda *_: self.lap("data_wait")))
        self._hooks.append(model.register_forward_hook(lambda *_: self.lap("forward")))
        if optimizer is not None:
            self._hooks.append(optimizer.register_step_pre_hook(lambda *_: self.lap("backward")))
            self._hooks.append(optimizer.register_step_post_hook(lambda *_: self.lap("optimizer")))

    def batches(self, loader: Iterable[Batch]) -> Iterator[Batch]:
        """Iterate over the loader's batches; the time until each one arrives counts as waiting for data."""
        self._recorder.steps.loader(
            getattr(loader, "num_workers", 0),
            getattr(loader, "batch_size", None) or 0,
            getattr(loader, "pin_memory", False),
        )
        self._ensure_phase()
        for batch in loader:
            self.lap("data_wait")
            yield batch

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record while the block runs, and finish the profile even if the block raises."""
        try:
            with self._recorder:
                self._ensure_phase()
                yield
        finally:
            for hook in self._hooks:
                hook.remove()

    @property
    def profile(self) -> Profile:
        return self._recorder.profile()

    @property
    def findings(self) -> list[Finding]:
        """The findings of all rules."""
        return check(self.profile, self._rules)

    def report(self, path: StrPath) -> Path:
        """Write the HTML report."""
        path = user_path(path, "path")
        write_output(path, render_report(self.profile, self.findings))
        return path

    def _ensure_phase(self) -> None:
        if not self._in_phase:
            self.phase("train")
