"""One training run from settings to artifact: load data, build model, make sources, training task, loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.data.given_images import GivenImages
from breedclf.data.training_data import load_data
from breedclf.features.sources import make_sources
from breedclf.models.model import build_model
from breedclf.runtime.device import compute_of
from breedclf.runtime.workers import check_not_imported_by_loader
from breedclf.training.checkpoints.policy import CheckpointPolicy, about_run, check_same_inputs
from breedclf.training.context import run_context
from breedclf.training.custom.code import own_code
from breedclf.training.custom.metrics import MetricFunction
from breedclf.training.distributed import is_first_process
from breedclf.training.events import Events
from breedclf.training.hooks import EpochRecord, Hook
from breedclf.training.interruption import StopRequest
from breedclf.training.loop import train
from breedclf.training.optimizers import rate_warning
from breedclf.training.results.artifact import report_skipped
from breedclf.training.results.result import FitResult
from breedclf.training.results.run_results import RunResults
from breedclf.training.run_cache import RunCache
from breedclf.training.start_model import start_from_model, with_start_model
from breedclf.training.task import training_task

__all__ = ["FitResult", "fit"]

log: logging.Logger = logging.getLogger(__name__)


def fit(
    config: TrainingConfig,
    images: GivenImages | None = None,
    *,
    hooks: Sequence[Hook] = (),
    metrics: Mapping[str, MetricFunction] | None = None,
    run_cache: RunCache | None = None,
    checkpoints: Path | None = None,
    is_kept: Callable[[EpochRecord], bool] = lambda _best: True,
    stop: StopRequest | None = None,
    on_best: Callable[[FitResult], None] | None = None,
) -> FitResult:
    """Train in this process and write the artifact; the test split isn't used.

    Consecutive runs save time by sharing a `run_cache`. If torchrun started several processes, they share the work, and
    only the first writes files and calls hooks.

    Args:
        config: every setting.
        images: labeled images to train on in place of the folder that the settings name.
        hooks: receive the events of the run; an object with any of `TrainingHook`'s methods is one.
        metrics: functions of the validation images, by name, beside those of the settings.
        run_cache: what runs in one process share.
        checkpoints: folder of the checkpoints; below the output by default.
        is_kept: decides by the best epoch whether to write the artifact, which takes longer than training a head.
        stop: ends the run on request, with the best model so far.
        on_best: during long runs, the best model so far is written and passed on, in case the run is killed.

    Raises:
        ConfigError: the output can't be written or another run is writing there, the device is missing, a checkpoint
            was made with other settings, an object in `hooks` isn't a hook, a process that is being spawned starts the
            training again, or own code can't be imported or used.
        DataError: the images can't be used; by default also if one of them can't be read.
        WeightsError: the pretrained weights can't be downloaded or read, don't fit, or give NaN or infinite features.
        ArtifactError: the model of `start_from` can't be read, or is damaged.
        TrainingError: the loss is NaN or infinite, or own code fails.
        TrainingStoppedError: a stop was requested before the first step.
        DiskError: the disk refuses the model; the one before it stays.
        ForkError: this process was forked from one that used what doesn't work in a fork.
        TrainingInterrupted: SIGTERM or SIGINT was received, and the state is saved.
    """
    started = time.perf_counter()
    check_not_imported_by_loader()
    stop = stop or StopRequest()
    with Events(hooks if is_first_process() else ()) as events:
        config = with_start_model(config)
        if warning := rate_warning(config):
            log.warning("%s", warning)
        compute = compute_of(config)
        data = load_data(config, images)  # before the output folder exists, which may be inside the data
        own = own_code(config, data.class_counts, metrics)
        with run_context(config, data, compute, events, stop, cache=run_cache, checkpoints=checkpoints) as run:
            with run.reproducible():
                pretrained = run.cache.pretrained(config)
                model = build_model(config, pretrained, classes=len(data.labels), compute=run.compute)
                sources = make_sources(
                    config,
                    data,
                    model,
                    run.compute,
                    digests=run.cache.digests,
                    timer=events.timer,
                    on_progress=run.on_features,
                    share=run.distributed,
                )
                task = training_task(config, data, model, sources, own, needs_scaling=run.start is None)
                start = start_from_model(config, data, model, task)
                results = RunResults(config, data, model, sources, start, run.output, started, run.compute)
                about = about_run(config, run.compute, sources.data_fingerprint, pretrained, own.fingerprints)
                check_same_inputs(run.start, about)
                trained = train(
                    task,
                    config,
                    callbacks=run.callbacks,
                    distributed=run.distributed,
                    checkpoints=CheckpointPolicy(run.checkpoints, run.start, about),
                    stop=stop,
                    keep=results.keeper(on_best),
                )
            result = results.of(trained)
            if run.distributed.is_first:
                report_skipped(sources.skipped)
                if start is not None:
                    start.report(result.best, config.objective)
                if is_kept(result.best):
                    results.write(trained)
            run.distributed.wait()
            result = results.of(trained)
            events.end(result)
            return result
