"""What can be done with a search: stop it, continue it, train a trial alone; each with its command."""

from __future__ import annotations

from typing import Any

from breedclf.api.tuning import TuningJob
from breedclf.backends.common.folder import HOME_VARIABLE, home_folder
from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError
from breedclf.jobs import Backend
from breedclf.journey.settings import plain
from breedclf.journey.steps.shown import command, settings_shown
from breedclf.overview.searches import SearchView
from breedclf.tuning.native import NativeTuning
from breedclf.tuning.study import Study
from breedclf.tuning.trials import Trial


def stop_search(view: SearchView, backend: Backend) -> str:
    """Ask a search to stop, and end it if no process drives it; returns what was done.

    Raises:
        ConfigError: it can't be read, or it runs on another backend.
        BreedclfError: the backend refuses.
    """
    if view.study is not None and view.study.is_over:
        return f"{view.name} has ended: {view.status}"
    if view.backend not in (None, backend.name):
        raise ConfigError(f"{view.name} runs on {view.backend}, not {backend.name}: choose that backend")
    if view.home is None or view.study is None:
        if view.summary is None or not isinstance(backend, NativeTuning):
            raise ConfigError(f"{view.name} can't be stopped: {view.reason}")
        backend.stop_tuning(view.name)
        return f"asked {view.name} to stop"
    tuning = TuningJob.attach(view.name, backend=None if view.backend is None else backend, home=view.home.path)
    tuning.stop()
    return f"stopped {view.name}" if tuning.status == "Stopped" else f"asked {view.name} to stop"


def stop_command(view: SearchView) -> list[str]:
    """The command that stops a search."""
    backend = ["--backend", view.backend] if view.home is None and view.backend else []
    return [*_home(view), "breedclf", "tune", "--stop", view.name, *backend]


def resume_command(view: SearchView) -> list[str]:
    """The command that continues a search."""
    return [*_home(view), "breedclf", "tune", "--resume", view.name]


def train_command(study: Study, trial: Trial) -> str | None:
    """The command that trains with the settings of a trial; None if its images are those of a program."""
    config = study.request.config_of(trial)
    return None if config.data is None else command("breedclf", "train", config.data, flags=_settings(study, config))


def train_python(study: Study, trial: Trial) -> str:
    """The Python that trains with the settings of a trial."""
    config = study.request.config_of(trial)
    data = {} if config.data is None else {"data": str(config.data)}
    lines = [f"    {name}={value!r}," for name, value in {**data, **_settings(study, config)}.items()]
    images = ", images=images" if config.data is None else ""
    text = ["from breedclf import Trainer, TrainingConfig", "", "config = TrainingConfig(", *lines, ")"]
    return "\n".join([*text, f"result = Trainer(config{images}).fit()"])


def _settings(study: Study, config: TrainingConfig) -> dict[str, Any]:
    """The settings that were searched, and others that differ from their defaults."""
    shown, values = settings_shown(config), plain(config)
    return {name: values[name] for name in values if name in shown or name in study.request.space}


def _home(view: SearchView) -> list[str]:
    """What a command needs to find a search that isn't in the default home."""
    if view.home is None or view.home.path == home_folder():
        return []
    return ["env", f"{HOME_VARIABLE}={view.home.path}"]
