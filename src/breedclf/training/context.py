"""The context of one training run: settings, device, processes, output folder, hooks and checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.data.training_data import TrainingData
from breedclf.runtime.deterministic import repeatable
from breedclf.runtime.device import Compute
from breedclf.runtime.timers import StepTimer
from breedclf.training.checkpoint import Checkpoint, CheckpointFolder
from breedclf.training.distributed import DistributedContext, distributed_context
from breedclf.training.hooks import TrainingHook, TrainingPlan, timer_of
from breedclf.training.loop import Callbacks
from breedclf.training.output_folder import claimed_output
from breedclf.training.result import FitResult
from breedclf.training.resume import checkpoint_folder, find_checkpoint, with_same_choices
from breedclf.training.run_cache import RunCache


@dataclass(frozen=True)
class RunContext:
    """The facts of one training run, resolved for this machine.

    Args:
        config: every setting.
        compute: device and precision.
        distributed: the processes that train together.
        output: the folder that this run alone writes to.
        hooks: receive the events of the run; empty in all processes but the first.
        cache: shared with other runs of this process.
        checkpoints: where the run saves its state; None if it doesn't.
        start: the checkpoint that the run resumes from; None for a new run.
    """

    config: TrainingConfig
    compute: Compute
    distributed: DistributedContext
    output: Path
    hooks: Sequence[TrainingHook]
    cache: RunCache
    checkpoints: CheckpointFolder | None = None
    start: Checkpoint | None = None

    @cached_property
    def timer(self) -> StepTimer:
        """Receives the parts of each step, for all hooks that have a timer."""
        return timer_of(self.hooks)

    @property
    def callbacks(self) -> Callbacks:
        """What the loop calls."""
        return Callbacks([hook.on_step for hook in self.hooks], [hook.on_epoch for hook in self.hooks], self.timer)

    def reproducible(self) -> AbstractContextManager[None]:
        """Within it torch is deterministic if the settings ask for that, on as many threads as the checkpoint's run."""
        threads = None if self.start is None else self.start.about["choices"]["threads"]
        device, compiled = self.compute.device.type, self.compute.compiled
        return repeatable(self.config.deterministic, device=device, compiled=compiled, threads=threads)

    def finish(self, result: FitResult) -> None:
        """Call `on_end` of the hooks."""
        for hook in self.hooks:
            hook.on_end(result)


@contextmanager
def run_context(
    config: TrainingConfig,
    data: TrainingData,
    compute: Compute,
    *,
    hooks: Sequence[TrainingHook] = (),
    cache: RunCache | None = None,
    checkpoints: Path | None = None,
) -> Iterator[RunContext]:
    """Join the other processes, claim the output folder, find the checkpoint to resume from, and call `on_start`.

    The first process does the last three for all. `checkpoints` is the folder of checkpoints, below the output by
    default.

    Raises:
        ConfigError: the output can't be written or is in use, a batch can't be divided among the processes, or the
            checkpoint was made with other settings.
    """
    with distributed_context(compute.device) as distributed:
        distributed.check_batch(config.batch_size, config.gradient_accumulation_steps)
        with claimed_output(config) if distributed.is_first else nullcontext(config.output) as output:
            folder = checkpoint_folder(output, checkpoints)
            start = find_checkpoint(config, folder) if distributed.is_first else None
            output, folder, start = distributed.from_first((output, folder, start))
            run = RunContext(
                config,
                with_same_choices(replace(compute, device=distributed.device), config, start),
                distributed,
                output,
                hooks if distributed.is_first else (),
                cache or RunCache(),
                folder if config.checkpoints else None,
                start,
            )
            plan = TrainingPlan(
                config,
                data.labels,
                len(data.train),
                len(data.valid),
                run.compute.device.type,
                run.compute.precision,
                class_counts=data.class_counts,
                output=output,
                epochs_done=0 if start is None else start.epochs,
                checkpoints=None if run.checkpoints is None else run.checkpoints.path,
            )
            for hook in run.hooks:
                hook.on_start(plan)
            yield run
