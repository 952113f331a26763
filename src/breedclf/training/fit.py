"""One training from settings to artifact: scan, frozen part, epochs, model folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from breedclf.config import TrainingConfig
from breedclf.config.files import render_settings
from breedclf.data.image_folder import ImageFolder, training_images
from breedclf.inference.model_directory import write_artifact
from breedclf.runtime.device import Compute, compute_of, repeatable
from breedclf.runtime.workers import check_not_imported_by_loader
from breedclf.text.plain_json import plain_json
from breedclf.training.checkpoint import Checkpoint, CheckpointFolder
from breedclf.training.distributed import Processes, joined, local_device
from breedclf.training.hooks import EpochRecord, TrainingHook, timer_of
from breedclf.training.loop import Callbacks, Trained, train
from breedclf.training.optimizers import rate_warning
from breedclf.training.output_folder import MODEL_FOLDER, claimed_output
from breedclf.training.records import TrainingPlan
from breedclf.training.result import FitResult
from breedclf.training.resume import (
    CheckpointPolicy,
    about_run,
    check_same_inputs,
    checkpoint_folder,
    find_checkpoint,
    with_same_choices,
)
from breedclf.training.run_cache import RunCache
from breedclf.training.task import Prepared, prepare

__all__ = ["FitResult", "fit"]

log: logging.Logger = logging.getLogger(__name__)

HISTORY_FILE = "history.jsonl"
CONFIG_FILE = "config.json"
_MAX_SKIPPED_SHOWN = 10


def fit(
    config: TrainingConfig,
    *,
    hooks: Sequence[TrainingHook] = (),
    run_cache: RunCache | None = None,
    checkpoints: Path | None = None,
    is_kept: Callable[[EpochRecord], bool] = lambda _best: True,
) -> FitResult:
    """Train in this process and write the artifact; the test split is never touched.

    Trainings that follow each other save time by sharing a `workbench`. Where torchrun started several processes, they
    share the work, and the first alone writes and tells.

    Args:
        config: every setting.
        hooks: told of what happens.
        workbench: what trainings in one process share.
        checkpoints: folder of the checkpoints; by default below the output.
        is_kept: told the best epoch, whether the artifact is worth writing: that takes longer than training a last
            layer.

    Raises:
        ConfigError: the output can't be written or another training writes there, the device isn't there, a checkpoint
            was made with other settings, or a process that is being spawned begins the training again.
        DataError: the pictures can't be used; by default also when one of them can't be read.
        WeightsError: the pretrained weights can't be had or don't fit.
        TrainingError: the loss is no longer a number.
        DiskError: the disk refuses the model; the one before it stays.
        ForkError: this process was forked from one that used what doesn't work in a fork.
        TrainingInterrupted: SIGTERM or SIGINT came, and the state is saved.
    """
    started = time.perf_counter()
    if warning := rate_warning(config):
        log.warning("%s", warning)
    check_not_imported_by_loader()
    compute = compute_of(config)
    compute = replace(compute, device=local_device(compute.device, os.environ))
    folder = training_images(config)  # before the output is made, which may lie among the pictures
    with joined(compute.device) as processes, claimed_output(config, processes) as output:
        bench = run_cache or RunCache()
        return _fit(config, folder, compute, processes, output, hooks, bench, checkpoints, is_kept, started)


def _fit(
    config: TrainingConfig,
    folder: ImageFolder,
    compute: Compute,
    processes: Processes,
    output: Path,
    hooks: Sequence[TrainingHook],
    run_cache: RunCache,
    checkpoints: Path | None,
    is_kept: Callable[[EpochRecord], bool],
    started: float,
) -> FitResult:
    processes.check_batch(config.batch_size, config.gradient_accumulation_steps)
    hooks = hooks if processes.is_first else ()
    kept = checkpoint_folder(output, checkpoints) if config.checkpoints or config.resume else None
    start = _start(config, kept, processes)
    compute = with_same_choices(compute, config, start)
    plan = _plan(config, folder, compute, output, start, kept if config.checkpoints else None)
    timer = timer_of(hooks)
    for hook in hooks:
        hook.on_start(plan)
    with repeatable(config.deterministic, threads=None if start is None else start.about["choices"]["threads"]):
        prepared = prepare(config, folder, compute, run_cache=run_cache, timer=timer, needs_scaling=start is None)
        about = about_run(config, compute, prepared.data_fingerprint, prepared.weights_fingerprint)
        check_same_inputs(start, about)
        trained = train(
            prepared.lesson,
            config,
            callbacks=Callbacks([hook.on_step for hook in hooks], [hook.on_epoch for hook in hooks], timer),
            processes=processes,
            saving=CheckpointPolicy(kept if config.checkpoints else None, start, about),
        )
    artifact = output / MODEL_FOLDER
    if processes.is_first:
        _report_skipped(prepared.skipped)
        if is_kept(trained.history[trained.best_epoch - 1]):
            _write(output, config, prepared, trained)
    processes.wait()
    result = FitResult(
        artifact, output, trained.history, trained.best_epoch, time.perf_counter() - started, prepared.skipped
    )
    for hook in hooks:
        hook.on_end(result)
    return result


def _start(config: TrainingConfig, folder: CheckpointFolder | None, processes: Processes) -> Checkpoint | None:
    """The checkpoint to go on from, read by the first process for all."""
    found = find_checkpoint(config, folder) if folder is not None and processes.is_first else None
    if processes.count == 1:
        return found
    data = processes.from_first(None if found is None else found.to_bytes())
    return None if data is None else Checkpoint.from_bytes(data)


def _plan(
    config: TrainingConfig,
    folder: ImageFolder,
    compute: Compute,
    output: Path,
    start: Checkpoint | None,
    checkpoints: CheckpointFolder | None,
) -> TrainingPlan:
    train, valid = folder.split("train"), folder.split("valid")
    counts = torch.bincount(torch.tensor(train.targets), minlength=len(folder.labels)).tolist()
    return TrainingPlan(
        config,
        folder.labels,
        len(train),
        len(valid),
        compute.device.type,
        compute.precision,
        class_counts=tuple(counts),
        output=output,
        epochs_done=0 if start is None else start.epochs,
        checkpoints=None if checkpoints is None else checkpoints.path,
    )


def _write(output: Path, config: TrainingConfig, prepared: Prepared, trained: Trained) -> None:
    best = trained.history[trained.best_epoch - 1]
    card = {
        "architecture": config.architecture,
        "labels": prepared.folder.labels,
        "class_names": prepared.folder.class_names,
        "preprocessing": prepared.preprocessing,
        "min_confidence": config.min_confidence,
        "metrics": {name: best.to_dict()[name] for name in ("valid_loss", "valid_accuracy")},
        "data_fingerprint": prepared.data_fingerprint,
        "training": config.to_dict() | {"best_epoch": trained.best_epoch},
    }
    write_artifact(output / MODEL_FOLDER, card, prepared.state_with(trained.state), _beside(config, trained))


def _beside(config: TrainingConfig, trained: Trained) -> dict[str, str]:
    """The texts of the files beside the model folder."""
    lines = [plain_json(record.to_dict()) + "\n" for record in trained.history]
    return {CONFIG_FILE: render_settings(config.to_dict(), Path(CONFIG_FILE)), HISTORY_FILE: "".join(lines)}


def _report_skipped(skipped: Sequence[str]) -> None:
    if skipped:
        shown = "".join(f"\n  {reason}" for reason in skipped[:_MAX_SKIPPED_SHOWN])
        more = f"\n  and {len(skipped) - _MAX_SKIPPED_SHOWN} more" if len(skipped) > _MAX_SKIPPED_SHOWN else ""
        log.warning("%d unreadable pictures were skipped:%s%s", len(skipped), shown, more)
