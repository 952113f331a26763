"""The entry point of every job, `python -m breedclf.run`: reads SageMaker's environment, trains, writes the model."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from breedclf.config import TrainingConfig
from breedclf.config.hyperparameters import decode
from breedclf.config.import_path import with_files_at
from breedclf.errors import BreedclfError, ConfigError, TrainingError, TrainingStoppedError
from breedclf.files.model_folder import CARD_FILE
from breedclf.files.package import OWN_CODE_FOLDER
from breedclf.files.paths import user_path
from breedclf.jobs import (
    DATA_CHANNEL,
    LABELS_CHANNEL,
    MAX_FAILURE_REASON_CHARS,
    MODEL_CHANNEL,
    WEIGHTS_CHANNEL,
    is_weights_channel,
)
from breedclf.jobs.metric_lines import best, print_metrics
from breedclf.runtime.own_code import importable_from
from breedclf.runtime.process_signals import EXIT_INTERRUPTED, ending_at_once, interrupt_by_signals
from breedclf.runtime.quick_exit import leave
from breedclf.text.printable import VisibleFormatter, any_encoding, storable
from breedclf.tuning.native import TELL_BEST_VARIABLE
from breedclf.tuning.network_weights import WEIGHTS_PAIR, received_by_job
from breedclf.tuning.packed import is_search, run_packed, study_from_pairs, without_search
from breedclf.tuning.scores_file import SCORES_VARIABLE

if TYPE_CHECKING:
    from breedclf.training.results.result import FitResult

log: logging.Logger = logging.getLogger(__name__)

_MANIFEST = Path(__file__).resolve().parent.parent / "bundle.json"
_TRAINING = "training"  # the folder of its checkpoints


@dataclass(frozen=True)
class JobEnvironment:
    """The job as its environment describes it; all paths of a job come from here."""

    hyperparameters: Mapping[str, Any]
    channels: Mapping[str, Path]
    model: Path
    checkpoints: Path
    output_data: Path
    output: Path
    gpus: int
    processes: int
    by_torchrun: bool
    is_first: bool
    cache: Path | None
    reports_best: bool = False
    writes_scores: bool = False
    own_code: Path | None = None

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Self:
        """Read the `SM_*` variables.

        Raises:
            ConfigError: a required variable is missing or can't be parsed.
        """
        prefix = "SM_CHANNEL_"
        try:
            return cls(
                hyperparameters=_hyperparameters(variables),
                channels={
                    k.removeprefix(prefix).lower(): Path(v) for k, v in variables.items() if k.startswith(prefix)
                },
                model=Path(variables["SM_MODEL_DIR"]),
                checkpoints=_checkpoints(variables),
                output_data=Path(variables["SM_OUTPUT_DATA_DIR"]),
                output=Path(variables.get("SM_OUTPUT_DIR") or Path(variables["SM_OUTPUT_DATA_DIR"]).parent),
                gpus=int(variables.get("SM_NUM_GPUS") or 0),
                processes=max(
                    int(variables.get("WORLD_SIZE") or 1), len(json.loads(variables.get("SM_HOSTS") or "[0]"))
                ),
                by_torchrun="TORCHELASTIC_RUN_ID" in variables,
                is_first=variables.get("RANK", "0") == "0",
                cache=user_path(variables["BREEDCLF_CACHE_DIR"], "BREEDCLF_CACHE_DIR")
                if variables.get("BREEDCLF_CACHE_DIR")
                else None,
                reports_best=bool(variables.get(TELL_BEST_VARIABLE)),
                writes_scores=bool(variables.get(SCORES_VARIABLE)),
                own_code=_own_code(variables),
            )
        except KeyError as error:
            raise ConfigError(
                f"the environment has no {error.args[0]}: this module runs only inside a job; use `breedclf train`"
            ) from None
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"the job's environment can't be read: {error}") from error

    @property
    def weights(self) -> dict[str, str]:
        """The weights by architecture, of a job that is a search or one of its trials."""
        if WEIGHTS_PAIR not in self.hyperparameters:
            return {}
        files = {name: str(_only_file(path)) for name, path in self.channels.items() if is_weights_channel(name)}
        return received_by_job(self.hyperparameters[WEIGHTS_PAIR], files)

    def training_config(self) -> TrainingConfig:
        """The training configuration with the paths of this job.

        Raises:
            ConfigError: a hyperparameter is unknown or wrong, or there is no data channel.
        """
        if DATA_CHANNEL not in self.channels:
            raise ConfigError(f"the job has no channel {DATA_CHANNEL!r}, which must hold the images")
        # each job has new links to the same images
        data = _table_or_folder(self.channels[DATA_CHANNEL]).resolve()
        paths: dict[str, Any] = {"data": data, "output": self.output_data}
        if LABELS_CHANNEL in self.channels:
            paths["labels"] = _only_file(self.channels[LABELS_CHANNEL]).resolve()
        if WEIGHTS_CHANNEL in self.channels:
            paths["weights"] = str(_only_file(self.channels[WEIGHTS_CHANNEL]))
        if MODEL_CHANNEL in self.channels:
            paths["start_from"] = self.channels[MODEL_CHANNEL].resolve()
        if self.cache is not None:
            paths["cache_dir"] = self.cache
        pairs = without_search(self.hyperparameters)
        pairs.pop(WEIGHTS_PAIR, None)
        if (weights := self.weights.get(str(decode(pairs.get("architecture"))))) is not None:
            paths["weights"] = weights
        if (folder := self.own_code) is not None:
            texts = {name: text for name, text in pairs.items() if isinstance(text, str)}
            paths |= with_files_at(texts, lambda file: str(folder / Path(file).name))
        return TrainingConfig.from_hyperparameters(pairs, **paths)


def main() -> NoReturn:
    """Run the job that the environment describes and exit: 0, 1 with a `failure` file, or 130 when interrupted.

    Of several processes only the first logs progress; the others log warnings and errors.
    """
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout)
    interrupt_by_signals()
    logging.getLogger().handlers[0].setFormatter(VisibleFormatter("%(message)s"))
    try:
        with any_encoding():
            code = run(os.environ)
    except KeyboardInterrupt as interrupt:  # the message names the checkpoint to resume from
        log.error("%s", str(interrupt) or "interrupted")
        code = EXIT_INTERRUPTED
    leave(code)


def run(variables: Mapping[str, str]) -> int:
    """Run the job that these variables describe; return its exit code.

    An error is logged, and its first 1,024 characters are written to `SM_OUTPUT_DIR/failure`.
    """
    try:
        job = JobEnvironment.read(variables)
        with importable_from(job.own_code):
            if is_search(job.hyperparameters):
                search(job)
            else:
                train(job)
    except TrainingStoppedError as error:
        log.error("%s", error)
        return EXIT_INTERRUPTED
    except BreedclfError as error:
        return _fail(str(error), variables)
    except Exception as error:  # noqa: BLE001 - every error becomes the failure reason
        traceback.print_exc(file=sys.stderr)
        return _fail(f"{type(error).__name__}: {error}", variables)
    return 0


def train(job: JobEnvironment) -> FitResult:
    """Train with the job's hyperparameters and write the model to the job's model folder.

    A job that is restarted, for instance after a spot interruption, resumes from its last checkpoint. SIGTERM, which
    backends send to a job that is stopped, ends the run after its step: its best model so far is written.

    Raises:
        TrainingInterrupted: a signal ended the run; the model is written.
        TrainingStoppedError: a signal ended the run before its first step.
        BreedclfError: the settings, the data, the weights or the machine are unsuitable.
    """
    config = job.training_config().replace(resume=True)
    if job.processes > 1 and not job.by_torchrun:
        raise TrainingError(
            f"the job runs as {job.processes} processes that torchrun didn't start, so each would train alone: "
            "use one instance and one GPU, or torchrun (sagemaker_torch_distributed_enabled=true)"
        )
    with ending_at_once():
        from breedclf.loggers.chosen import loggers_of
        from breedclf.profiling.recorder import recorders_of
        from breedclf.training.fit import fit
        from breedclf.training.interruption import StopRequest, TrainingInterrupted
        from breedclf.training.progress import ProgressLog
        from breedclf.tuning.best_so_far import BestSoFar
        from breedclf.tuning.valid_scores import ValidScores

    if config.device in ("auto", "cuda"):
        _require_gpus(job.gpus)
    checkpoints, stop = job.checkpoints / _TRAINING, StopRequest(signals_keep_best=True)
    if not job.is_first:
        return fit(config, checkpoints=checkpoints, stop=stop)
    store = f"sqlite:///{config.output / 'mlflow.db'}"  # returned with the job's output
    best_hooks = [BestSoFar(config.objective)] if job.reports_best else []
    score_hooks = [ValidScores(config.objective, job.output_data)] if job.writes_scores else []
    loggers, recorders = loggers_of(config, mlflow_uri=store), recorders_of(config)
    hooks = [ProgressLog(metric_lines=True), *best_hooks, *score_hooks, *recorders, *loggers]

    def hand_over(result: FitResult) -> None:
        _write_model(result.artifact, job.model)
        value = getattr(result.best, config.objective)
        print_metrics({"best_epoch": result.best_epoch, best(config.objective): value})

    result = fit(config, hooks=hooks, checkpoints=checkpoints, stop=stop, on_best=hand_over)
    hand_over(result)
    if result.stopped:
        raise TrainingInterrupted(
            f"the training was stopped in epoch {len(result.history)} of {config.epochs}, and its best model is written"
        )
    return result


def search(job: JobEnvironment) -> None:
    """Run a whole search in this job, and write the best trial's model to the job's model folder.

    Raises:
        BreedclfError: the settings are invalid, or no trial completed.
    """
    config = job.training_config()
    if job.processes > 1:
        raise TrainingError(f"the job runs as {job.processes} processes, but a search in one job needs exactly one")
    if config.device in ("auto", "cuda"):
        _require_gpus(job.gpus)
    study = study_from_pairs(job.hyperparameters, config, job.weights)
    _write_model(run_packed(study, checkpoints=job.checkpoints, output_data=job.output_data), job.model)


def _require_gpus(count: int) -> None:
    import torch

    if count and not torch.cuda.is_available():
        raise TrainingError(
            f"the job has {count} GPU(s), but CUDA can't use them; the driver may be too old for this torch "
            f"({torch.__version__}). Use a matching image or driver, or device=cpu"
        )


def _write_model(artifact: Path, target: Path) -> None:
    """Move the model's files to the job's model folder, and add the serving code and the bundle's hash."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(artifact.iterdir()):
        shutil.move(path, target / path.name)
    artifact.rmdir()
    from breedclf.serving.model_code import write_code

    write_code(target)
    if _MANIFEST.is_file():
        card = target / CARD_FILE
        values = json.loads(card.read_text(encoding="utf-8"))
        values["bundle_sha256"] = json.loads(_MANIFEST.read_text(encoding="utf-8"))["content_sha256"]
        card.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _hyperparameters(variables: Mapping[str, str]) -> dict[str, Any]:
    text = variables.get("SM_HPS")
    if not text:
        folder = variables.get("SM_INPUT_CONFIG_DIR")
        file = None if folder is None else Path(folder) / "hyperparameters.json"
        text = file.read_text(encoding="utf-8") if file is not None and file.is_file() else "{}"
    pairs = json.loads(text)
    if not isinstance(pairs, dict):
        raise ConfigError(f"the job's hyperparameters must be a table, not {type(pairs).__name__}")
    return pairs


def _own_code(variables: Mapping[str, str]) -> Path | None:
    """The folder of the user's modules: beside this package in a bundle, or in the job's folder."""
    beside = _MANIFEST.with_name(OWN_CODE_FOLDER)
    base = variables.get("SAGEMAKER_BASE_DIR")
    folders = [beside] if base is None else [beside, Path(base) / "code" / OWN_CODE_FOLDER]
    return next((folder for folder in folders if folder.is_dir()), None)


def _checkpoints(variables: Mapping[str, str]) -> Path:
    """The folder that is kept when the job is interrupted and restarted."""
    return Path(variables.get("SM_CHECKPOINT_DIR") or Path(variables["SM_MODEL_DIR"]).parent / "checkpoints")


def _only_file(channel: Path) -> Path:
    """The one file of a channel; backends put single files into a folder."""
    if channel.is_file():
        return channel
    files = sorted(path for path in channel.iterdir() if path.is_file()) if channel.is_dir() else []
    if len(files) != 1:
        raise ConfigError(f"channel {channel.name!r} must hold one file; it holds {len(files)}")
    return files[0]


def _table_or_folder(channel: Path) -> Path:
    """The channel of the images, or the table in it, if it holds nothing else."""
    found = list(channel.iterdir()) if channel.is_dir() else []
    return found[0] if len(found) == 1 and found[0].is_file() else channel


def _fail(reason: str, variables: Mapping[str, str]) -> int:
    log.error("the job failed: %s", reason)
    folder = variables.get("SM_OUTPUT_DIR")
    if folder and variables.get("RANK", "0") == "0":
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / "failure").write_text(storable(reason)[:MAX_FAILURE_REASON_CHARS], encoding="utf-8")
        except OSError as error:
            log.error("its reason can't be written to %s: %s", folder, error)
    return 1


if __name__ == "__main__":
    main()
