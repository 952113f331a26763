"""`breedclf tune DIR`: search for the best hyperparameters and save the model of the best trial."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from breedclf.api.best_trial import BestTrial
from breedclf.api.model_files import place_model
from breedclf.api.tuning import TuningJob
from breedclf.api.tuning_output import failure_message
from breedclf.backends.registry import DEFAULT_BACKEND, backend_named, backend_names
from breedclf.cli.common import moment, text_table
from breedclf.cli.flags import (
    add_data_argument,
    add_network_weights,
    add_settings_flags,
    data_arguments,
    import_from_here,
    take_space,
    take_weights,
    training_config,
)
from breedclf.cli.terminal import Terminal
from breedclf.config import TrainingConfig
from breedclf.config.groups import TRAINING_GROUPS
from breedclf.errors import ConfigError, JobError, JobFailedError
from breedclf.files.paths import path_argument, user_path
from breedclf.jobs import Backend
from breedclf.model_store.store import DEFAULT_STORE
from breedclf.overview.overview import DEFAULT_RUNS, Overview, places_of
from breedclf.overview.search_commands import stop_search
from breedclf.overview.searches import rows
from breedclf.tuning.study import Study
from breedclf.tuning.table import confirmation_line, trial_table, value_text

_EPILOG = """
A setting is searched if its value is a range or a list: 0.005:0.01 is a range, 1e-4:1e-1:log a logarithmic one, and
32,64 a list of choices. Example: breedclf tune dogImages --learning-rate 0.005:0.01 --batch-size 32,64 --epochs 2,3
"""
_DEFAULT_OUTPUT = Path("runs/tune")
_MODEL = "model"
_CARD = "breedclf.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [DIR|TABLE] [OPTION ...]"
    parser.epilog = _EPILOG
    add_data_argument(parser)
    parser.add_argument("--config", type=path_argument, metavar="FILE", help="settings from a YAML, TOML or JSON file")
    search = parser.add_argument_group("search")
    search.add_argument("--strategy", metavar="grid|random|bayesian", default="bayesian", help="(default: bayesian)")
    search.add_argument(
        "--max-jobs", type=int, metavar="N", help="maximum number of trials (default: 10, or all of a grid)"
    )
    search.add_argument("--parallel", type=int, metavar="N", default=1, help="jobs at a time (default: 1)")
    search.add_argument("--grid-points", type=int, metavar="N", help="values of each range that grid tries")
    search.add_argument(
        "--early-stopping", action="store_true", help="stop trials worse than the median of earlier ones"
    )
    search.add_argument("--target", type=float, metavar="X", help="end the search at this objective")
    search.add_argument("--not-improving", type=int, metavar="N", help="end after N trials without improvement")
    search.add_argument("--max-seconds", type=float, metavar="S", help="end the search after this many seconds")
    search.add_argument("--max-seconds-per-job", type=int, metavar="S", help="stop a job after this many seconds")
    search.add_argument("--search-seed", type=int, metavar="N", default=0, help="seed of the search (default: 0)")
    search.add_argument(
        "--confirm-seeds", type=int, metavar="N", default=0, help="run the best trials again with N other seeds"
    )
    search.add_argument("--name", metavar="NAME", help="name of the tuning job (default: made from the time)")
    search.add_argument("--resume", metavar="NAME", dest="carry_on", help="continue the tuning job of this name")
    search.add_argument("--list", action="store_true", dest="listed", help="list all tuning jobs")
    search.add_argument("--stop", metavar="NAME", dest="to_stop", help="stop the tuning job of this name")
    search.add_argument("--backend", metavar="|".join(backend_names()), default="inline", help="where trials run")
    search.add_argument("--packed", action="store_true", help="run the whole search as one job")
    search.add_argument("--report", type=path_argument, metavar="FILE", help="HTML report (default: OUT/tuning.html)")
    add_settings_flags(parser, TrainingConfig, TRAINING_GROUPS, leave_out=["data", "resume", "weights"])
    add_network_weights(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    if arguments.listed:
        return _list(arguments, terminal)
    if arguments.to_stop is not None:
        return _stop(arguments, terminal)
    output = _checked_output(arguments)
    progress = not terminal.quiet
    if arguments.carry_on:
        backend = _backend(_backend_of(arguments))
        tuning = TuningJob.attach(arguments.carry_on, backend=backend)
        import_from_here(tuning.study.request.config)
    else:
        tuning = _tuning_job(arguments)
        terminal.note(f"tuning job {tuning.name}")
        tuning.run(progress=progress)
    tuning.wait(progress=progress, check=False)
    study = tuning.study
    report = tuning.report(arguments.report or output / "tuning.html")
    best = None if study.best is None else tuning.best
    model = None if best is None else place_model(best.artifact, output / _MODEL)
    document = _document(study, best, model) | {"report": str(report)}
    terminal.result(document, _text(study, best, model, report))
    if best is None:
        terminal.error(failure_message(study))
        return JobFailedError.exit_code
    return 0


def _list(arguments: argparse.Namespace, terminal: Terminal) -> int:
    look = _overview(arguments).searches()
    if look.problem:
        terminal.error(look.problem)
    found = look.value or ()
    heads = ("NAME", "STATUS", "TRIALS", "OBJECTIVE", "BEST", "CREATED (UTC)", "SECONDS")
    none = "no tuning jobs; `breedclf tune DIR --learning-rate 0.005:0.01` starts one"
    terminal.result(
        {"tunings": [view.to_dict() for view in found]} if terminal.json else None,
        text_table([heads, *rows(found, moment)]) if found else none,
    )
    return JobError.exit_code if look.problem else 0


def _stop(arguments: argparse.Namespace, terminal: Terminal) -> int:
    overview = _overview(arguments)
    look = overview.search(arguments.to_stop)
    if look.value is None:
        raise ConfigError(look.problem)
    backend = overview.backend if look.value.backend is None else backend_named(look.value.backend)
    done = stop_search(look.value, backend)
    terminal.result({"name": look.value.name, "done": done}, done)
    return 0


def _overview(arguments: argparse.Namespace) -> Overview:
    """What there is on the backend, or on this machine where trials run in this process."""
    backend = _backend(arguments.backend) or backend_named(DEFAULT_BACKEND)
    return Overview(backend, places_of(backend, home=None, runs=DEFAULT_RUNS, store=DEFAULT_STORE))


def _tuning_job(arguments: argparse.Namespace) -> TuningJob:
    weights = take_weights(arguments)
    space = take_space(arguments)
    if not space:
        raise ConfigError(
            "nothing to search for: give at least one setting a range or a list, as in --learning-rate 0.005:0.01 or "
            "--batch-size 32,64"
        )
    config = training_config(arguments)
    return TuningJob(
        config,
        space,
        config.objective,
        strategy=arguments.strategy,
        max_jobs=arguments.max_jobs,
        max_parallel_jobs=arguments.parallel,
        early_stopping=arguments.early_stopping,
        seed=arguments.search_seed,
        backend=_backend(arguments.backend),
        packed=arguments.packed,
        name=arguments.name,
        grid_points=arguments.grid_points,
        target=arguments.target,
        not_improving=arguments.not_improving,
        max_seconds=arguments.max_seconds,
        max_seconds_per_job=arguments.max_seconds_per_job,
        confirm_seeds=arguments.confirm_seeds,
        weights=weights,
    )


def _backend(name: str | None) -> Backend | None:
    return None if name in (None, "inline") else backend_named(str(name))


def _backend_of(arguments: argparse.Namespace) -> str | None:
    """The backend in the saved search, or the one on the command line for a search of another machine."""
    try:
        return TuningJob.look(arguments.carry_on).backend
    except ConfigError:
        if arguments.backend in (None, "inline"):
            raise
        return str(arguments.backend)


def _checked_output(arguments: argparse.Namespace) -> Path:
    """The folder for the best model and the report, checked before hours of work."""
    given = getattr(arguments, "output", None)
    output = _DEFAULT_OUTPUT if given is None else user_path(given, "output")
    number = 1
    while given is None and (output / _MODEL).exists():
        number += 1
        output = _DEFAULT_OUTPUT.with_name(f"{_DEFAULT_OUTPUT.name}-{number}")
    report = arguments.report
    if report is not None and report.is_dir():
        raise ConfigError(f"--report {str(report)!r} is a folder; name a file in it, such as tuning.html")
    model = output / _MODEL
    if model.exists() and not (model / _CARD).is_file():
        raise ConfigError(f"output={str(output)!r}: {model} is not a breedclf model; choose another")
    for folder, flag in ((output, "--output"), (report.parent if report else output, "--report")):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ConfigError(f"{str(folder)!r} can't be written: {error.strerror}; choose another {flag}") from error
    return output


def _document(study: Study, best: BestTrial | None, model: Path | None) -> dict[str, Any]:
    trials = [
        {
            "name": trial.name,
            "status": trial.status,
            "hyperparameters": trial.hyperparameters,
            "objective": trial.objective,
            "seconds": None if trial.seconds is None else round(trial.seconds, 3),
            "metrics": trial.metrics,
            "failure_reason": trial.failure_reason,
        }
        for trial in study.trials
    ]
    found = best and {
        "name": best.name,
        "hyperparameters": best.hyperparameters,
        "objective": best.objective,
        "artifact": str(model),
        "metrics": best.metrics,
        **({} if best.level_with is None else {"level_with": list(best.level_with)}),
    }
    request = study.request
    return {
        "name": request.name,
        "status": study.status,
        "reason": study.reason,
        "objective": request.objective,
        "valid_count": study.valid_count,
        "trials": trials,
        "best": found,
        **({} if study.confirmation is None else {"confirmation": study.confirmation.to_dict()}),
    }


def _text(study: Study, best: BestTrial | None, model: Path | None, report: Path) -> str:
    lines = [trial_table(study), f"report: {report}"]
    if best is not None:
        values = ", ".join(f"{name} {value_text(value)}" for name, value in best.hyperparameters.items())
        lines += [
            f"best: {values} ({study.request.objective} {best.objective:.4f})",
            *([] if study.confirmation is None else [confirmation_line(study.confirmation)]),
            f"model: {model}",
            f"next: breedclf evaluate {model} {data_arguments(study.request.config)}",
        ]
    return "\n".join(lines)
