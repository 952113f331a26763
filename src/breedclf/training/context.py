"""The context of one training run: settings, device, processes, output folder, hooks and checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.data.training_data import TrainingData
from breedclf.features.progress import FeatureProgress
from breedclf.runtime.deterministic import repeatable
from breedclf.runtime.device import Compute
from breedclf.training.checkpoints.checkpoint import Checkpoint, CheckpointFolder
from breedclf.training.checkpoints.resume import checkpoint_folder, find_checkpoint, with_same_choices
from breedclf.training.distributed import DistributedContext, distributed_context
from breedclf.training.events import Events
from breedclf.training.interruption import StopRequest
from breedclf.training.loop import Callbacks
from breedclf.training.records import TrainingPlan
from breedclf.training.results.output_folder import claimed_output
from breedclf.training.run_cache import RunCache


@dataclass(frozen=True)
class RunContext:
    """The facts of one training run, resolved for this machine.

    Args:
        config: every setting.
        compute: device and precision.
        distributed: the processes that train together.
        output: the folder that this run alone writes to.
        events: calls the hooks; there are none in processes other than the first.
        stop: whether the end of the run was requested.
        cache: shared with other runs of this process.
        checkpoints: where the run saves its state; None if it doesn't.
        start: the checkpoint that the run resumes from; None for a new run.
    """

    config: TrainingConfig
    compute: Compute
    distributed: DistributedContext
    output: Path
    events: Events
    stop: StopRequest
    cache: RunCache
    checkpoints: CheckpointFolder | None = None
    start: Checkpoint | None = None

    @property
    def callbacks(self) -> Callbacks:
        """What the loop calls."""
        calls = self.events.calls
        return Callbacks(calls("on_step"), calls("on_valid"), calls("on_epoch"), self.events.timer)

    def on_features(self, progress: FeatureProgress) -> None:
        """Report progress to the hooks.

        Raises:
            TrainingStoppedError: the end of the run was requested, which ends it in all processes.
        """
        self.events.features(progress)
        self.stop.raise_if_requested()

    def reproducible(self) -> AbstractContextManager[None]:
        """Within it torch is deterministic if the settings ask for that, on as many threads as the checkpoint's run."""
        threads = None if self.start is None else self.start.about["choices"]["threads"]
        device, compiled = self.compute.device.type, self.compute.compiled
        return repeatable(self.config.deterministic, device=device, compiled=compiled, threads=threads)


@contextmanager
def run_context(
    config: TrainingConfig,
    data: TrainingData,
    compute: Compute,
    events: Events,
    stop: StopRequest,
    *,
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
                events,
                stop,
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
                request_stop=stop.request,
            )
            events.start(plan)
            yield run
