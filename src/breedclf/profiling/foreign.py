"""Records a training loop that isn't breedclf's: its user says where steps end, hooks find the parts of a step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer

from breedclf.files.disk import write_output
from breedclf.files.paths import user_path
from breedclf.profiling.profile import Profile
from breedclf.profiling.recorder import Recorder, Recording
from breedclf.profiling.report import render_report
from breedclf.profiling.rules import Finding, RuleChoice, check, choose_rules

Batch = TypeVar("Batch")


class ForeignLoop:
    """What `ProfilingSession.record()` gives: call `step()` at the end of each step; all else is optional."""

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
        """Steps of this kind begin, `train` or `valid`; without a call all steps are `train`."""
        self._in_phase = True
        self._recorder.steps.phase(name, epoch)

    def lap(self, part: str) -> None:
        """The time since the last lap went into `data_wait`, `to_device`, `forward`, `backward` or `optimizer`."""
        self._ensure_phase()
        self._recorder.steps.lap(part)

    def step(self, pictures: int = 0, loss: float | None = None) -> None:
        """A step ends."""
        self._ensure_phase()
        self._recorder.steps.step(pictures)
        if loss is not None:
            self._recorder.steps.losses([loss])

    def watch(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Time forward, backward and the optimizer by hooks, and look at the network's tensors now and then."""
        self._recorder.steps.watch(model, optimizer)
        self._hooks.append(model.register_forward_pre_hook(lambda *_: self.lap("data_wait")))
        self._hooks.append(model.register_forward_hook(lambda *_: self.lap("forward")))
        if optimizer is not None:
            self._hooks.append(optimizer.register_step_pre_hook(lambda *_: self.lap("backward")))
            self._hooks.append(optimizer.register_step_post_hook(lambda *_: self.lap("optimizer")))

    def batches(self, loader: Iterable[Batch]) -> Iterator[Batch]:
        """The loader's batches; the time until each one comes is waiting for data."""
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
        """Record while the block runs, and end in good order whatever happens in it."""
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
        """Every rule's answer."""
        return check(self.profile, self._rules)

    def report(self, path: str | Path) -> Path:
        """Write the page for people."""
        path = user_path(path, "path")
        write_output(path, render_report(self.profile, self.findings))
        return path

    def _ensure_phase(self) -> None:
        if not self._in_phase:
            self.phase("train")
