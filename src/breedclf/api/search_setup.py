"""What a tuning job needs before it starts: its folder, its driver, absolute paths and validation images."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from breedclf.api.native_tuning import NativeDriver
from breedclf.api.network_check import check_network
from breedclf.api.training_job import with_checked_model
from breedclf.api.tuning_drivers import Driver, InProcessDriver, JobsDriver, PackedDriver
from breedclf.backends.common.folder import home_folder
from breedclf.config import TrainingConfig
from breedclf.config.import_path import with_files_at
from breedclf.errors import ConfigError
from breedclf.files.paths import StrPath
from breedclf.files.s3_uri import is_s3
from breedclf.jobs import Backend, HomeBackend, remote_address
from breedclf.jobs.handle import Clock
from breedclf.runtime.process_signals import ending_at_once
from breedclf.tuning.native import NativeTuning
from breedclf.tuning.network_weights import checked_weights, is_file, weights_by_architecture
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.space import Categorical, ParameterRange, Space, with_weights
from breedclf.tuning.study import StudyFolder

if TYPE_CHECKING:
    from breedclf.data.given_images import GivenImages

STUDIES = "tuning"
_OF_THE_NETWORK = ("architecture", "freeze", "weights")
_PATHS = ("data", "labels", "output", "cache_dir", "start_from")


def driver_for(
    folder: StudyFolder,
    backend: Backend | None,
    clock: Clock,
    images: GivenImages | None = None,
    *,
    packed: bool,
    confirm_seeds: int,
) -> Driver:
    """The driver that runs the study on this backend; only a search in this process can use `images`.

    Raises:
        ConfigError: the backend runs the search as a whole, and it should be confirmed with other seeds.
    """
    if backend is None:
        return InProcessDriver(folder, images)
    if packed:
        return PackedDriver(folder, backend, clock)
    if isinstance(backend, NativeTuning):
        if confirm_seeds:
            raise ConfigError(
                f"confirm_seeds={confirm_seeds}: {backend.name!r} runs the search as a tuning job of its service, "
                "which can't repeat trials: set packed=True (--packed), so that one training job runs all of them"
            )
        return NativeDriver(folder, backend, clock)
    return JobsDriver(folder, backend, clock)


def studies_folder(backend: Backend | None, home: StrPath | None) -> Path:
    """The folder of all studies: below `home`, or the backend's, or the default one."""
    if home is None and isinstance(backend, HomeBackend):
        home = backend.home
    return home_folder(home) / STUDIES


def new_study_name() -> str:
    """A unique name of at most 32 characters."""
    return f"tune-{datetime.now(UTC):%y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def search_request(
    *,
    config: TrainingConfig,
    space: Mapping[str, ParameterRange],
    weights: Mapping[str, StrPath] | None,
    **settings: Any,
) -> SearchRequest:
    """The request of a search, with absolute paths and the weights of each network in the space.

    Raises:
        ConfigError: a setting is wrong, or they don't fit together.
    """
    weights = checked_weights(weights or {})
    if "architecture" not in space and config.architecture in weights:
        config = config.replace(weights=weights.pop(config.architecture))
    config = with_absolute_paths(config)
    request = SearchRequest(config=config, space=cast(Space, dict(space)), **settings)  # validates the space
    by_architecture = weights_by_architecture(config, request.space, weights)
    absolute = {
        name: str(Path(value).absolute()) if is_file(value) else value for name, value in by_architecture.items()
    }
    return SearchRequest(config=config, space=request.space, weights=absolute, **settings) if absolute else request


def check_networks(request: SearchRequest) -> None:
    """Check that every network that the search may try exists, with its weights, before any job starts.

    Raises:
        ConfigError: there is no such network, or it has no such stage to train.
        MissingExtraError: a network is timm's, and timm isn't installed.
        WeightsError: the weights are neither a known name nor a file, or there are none of that name.
    """
    space = request.space
    choices = {name: each.values for name in _OF_THE_NETWORK if isinstance(each := space.get(name), Categorical)}
    for values in itertools.product(*choices.values()):
        check_network(request.config.replace(**with_weights(dict(zip(choices, values, strict=True)), request.weights)))


def with_absolute_paths(config: TrainingConfig) -> TrainingConfig:
    """The settings with absolute paths, which mean the same wherever the search is continued.

    Raises:
        ArtifactError: the model of `start_from` can't be read, or is damaged.
    """
    config = with_checked_model(config)
    paths: dict[str, Path | None] = {name: getattr(config, name) for name in _PATHS if name in config.model_fields_set}
    changes: dict[str, Any] = {
        name: path if path is None or remote_address(path) else path.absolute() for name, path in paths.items()
    }
    changes |= with_files_at(config.to_dict(), lambda file: str(Path(file).absolute()))
    if Path(config.weights).is_file():
        changes["weights"] = str(Path(config.weights).absolute())
    return config.replace(**{name: value for name, value in changes.items() if value is not None})


def valid_count(config: TrainingConfig, images: GivenImages | None = None) -> int | None:
    """The number of validation images; also checks, before any job starts, that there are some.

    Raises:
        DataError: the images can't be used.
    """
    if config.data is not None and is_s3(config.data):
        return None
    with ending_at_once():
        from breedclf.data.training_data import load_data

    return len(load_data(config, images).valid)
