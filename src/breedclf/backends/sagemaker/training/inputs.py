"""Uploads a job's inputs to S3 (code, images, weights), each under a name derived from its content."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from breedclf.backends.common.bundle import ARCHIVE, Bundle, breedclf_bundle, settings_requirements, source_bundle
from breedclf.backends.common.model_files import MODEL_FILES
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.s3.manifest import Manifest, ignore_nothing, read_manifest, sha256_of
from breedclf.backends.sagemaker.s3.transfer import upload_folder
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.training.request import JobPlaces
from breedclf.config.import_path import paths_in
from breedclf.errors import ConfigError, DataError
from breedclf.jobs import DATA_CHANNEL, LABELS_CHANNEL, MODEL_CHANNEL, JobSpec, is_weights_channel, remote_address
from breedclf.tuning.packed import requirements_of

if TYPE_CHECKING:
    from breedclf.data.tables.places import TablePlace

REQUIREMENTS = "requirements.txt"
WHEELS = "wheels"
_SHOWN = 5
_IN_THE_JOB = ("breedclf", "numpy", "PIL", "torch", "torchvision")
_SAFE = re.compile(r"[^A-Za-z0-9._\-]+")
_FINGERPRINT_CHARS = 16


@dataclass
class Inputs:
    """Locates and uploads the inputs of jobs; existing objects are verified, since others may write to the bucket."""

    context: AwsContext
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def planned(self, spec: JobSpec) -> JobPlaces:
        """The S3 URIs of a job, without uploading anything.

        Raises:
            ConfigError: the source or a channel doesn't exist or is invalid.
        """
        with _sent_channels(spec) as paths:
            return self._places(self._code(spec), self._channels(spec, paths))

    def sent(self, spec: JobSpec) -> JobPlaces:
        """Upload what S3 lacks, for a job that `require_trainable` has accepted, and return the S3 URIs.

        Raises:
            ConfigError: the source or a channel doesn't exist or is invalid.
            BreedclfError: S3 can't be reached or refuses.
        """
        code = self._code(spec)
        with _sent_channels(spec) as paths:
            places = self._places(code, self._channels(spec, paths))
            with self._lock:  # concurrent jobs with the same code upload it once
                self.context.storage.ensure(f"{places.code}/{ARCHIVE}", code.archive())
            for name, uri in places.channels.items():
                path = paths[name]
                if remote_address(path) is not None:
                    continue
                if path.is_dir():
                    manifest_uri = f"{uri}.manifest.json"
                    ignored = _ignored_of(spec, name)
                    upload_folder(self.context.storage, path, uri, manifest_uri=manifest_uri, ignored=ignored)
                else:
                    self.context.storage.ensure(f"{uri}/{path.name}", path)
        return places

    def _places(self, code: Bundle, channels: Mapping[str, str]) -> JobPlaces:
        return JobPlaces(
            code=self.context.uri("code", code.content_sha256[:32]), channels=channels, jobs=self.context.uri("jobs")
        )

    def _code(self, spec: JobSpec) -> Bundle:
        bundle = (
            breedclf_bundle(
                [
                    *requirements_of(spec.hyperparameters),
                    *settings_requirements(spec.hyperparameters),
                ],
                spec.modules,
            )
            if spec.source is None
            else source_bundle(spec.source)
        )
        return with_wheels(bundle, self.context.settings)

    def _channels(self, spec: JobSpec, paths: Mapping[str, Path]) -> dict[str, str]:
        return {name: self._uri(name, path, _ignored_of(spec, name)) for name, path in paths.items()}

    def _uri(self, name: str, path: Path, ignored: Callable[[str], bool]) -> str:
        if (remote := remote_address(path)) is not None:
            return remote
        if path.is_dir():
            kind = "weights" if name == MODEL_CHANNEL else "data"
            return self.context.uri(kind, folder_name(path, read_manifest(path, ignored)))
        if path.is_file():
            kind = "weights" if is_weights_channel(name) else "data"
            return self.context.uri(kind, sha256_of(path)[:32])
        raise ConfigError(f"channel {name}: {path} is not there")


def folder_name(folder: Path, manifest: Manifest) -> str:
    """A folder's name in S3: readable, with a fingerprint, so that the input of a running job never changes.

    Example:
        >>> folder_name(Path("/data/dog images"), Manifest({}))
        'dog-images-e3b0c44298fc1c14'
    """
    readable = _SAFE.sub("-", folder.absolute().name).strip("-.") or "data"
    return f"{readable}-{manifest.fingerprint[:_FINGERPRINT_CHARS]}"


def with_wheels(bundle: Bundle, settings: SageMakerSettings) -> Bundle:
    """The bundle with the wheels of the settings, which pip installs from; without other sources if isolated.

    Raises:
        ConfigError: the folder of wheels doesn't exist or contains none.
    """
    if settings.wheels is None:
        return bundle
    found = sorted(settings.wheels.glob("*.whl"))
    if not found:
        raise ConfigError(
            f"wheels={str(settings.wheels)!r} contains no *.whl; fill it with `pip download -d {settings.wheels} -r "
            "requirements.txt` for the Python version of the image"
        )
    options = f"--find-links {WHEELS}\n" + ("--no-index\n" if settings.network_isolation else "")
    files = dict(bundle.files)
    files[REQUIREMENTS] = options.encode() + files.get(REQUIREMENTS, b"")
    return Bundle({**files, **{f"{WHEELS}/{path.name}": path.read_bytes() for path in found}})


def set_aside_in(folder: Path) -> Callable[[str], bool]:
    """Returns a function that says whether training ignores a path below `folder`; logs what is ignored.

    Raises:
        DataError: the folder doesn't exist or can't be read.
    """
    from breedclf.data.image_folder import log_set_aside
    from breedclf.data.layout import layout_of
    from breedclf.data.layout.disk import list_folder

    layout = layout_of(list_folder(folder))
    log_set_aside(folder, layout)
    return layout.unread


def _ignored_of(spec: JobSpec, channel: str) -> Callable[[str], bool]:
    """Which files of a channel aren't uploaded; those of a user's script all are, since it may read any of them."""
    if channel == MODEL_CHANNEL and spec.source is None:
        return lambda path: path not in MODEL_FILES
    folder = spec.channels[channel]
    if channel != DATA_CHANNEL or spec.source is not None or not folder.is_dir() or _table_of(spec) is not None:
        return ignore_nothing
    return set_aside_in(folder)


@contextmanager
def _sent_channels(spec: JobSpec) -> Iterator[Mapping[str, Path]]:
    """The channels that are uploaded: a table becomes a folder of the images that it lists."""
    place = _table_of(spec)
    if place is None:
        yield spec.channels
        return
    from breedclf.data.tables.staging import staged

    with staged(place) as folder:
        others = {name: path for name, path in spec.channels.items() if name not in (DATA_CHANNEL, LABELS_CHANNEL)}
        yield {DATA_CHANNEL: folder, **others}


def _table_of(spec: JobSpec) -> TablePlace | None:
    """The table of a job's images; None if they are in class folders or in S3, or if the job runs other code."""
    from breedclf.data.tables.places import place_of

    data = spec.channels.get(DATA_CHANNEL)
    if data is None or spec.source is not None or remote_address(data) is not None:
        return None
    return place_of(data, spec.channels.get(LABELS_CHANNEL))


def require_trainable(spec: JobSpec) -> None:
    """Check the images and the own code of a job before anything is uploaded or billed.

    Raises:
        ConfigError: own code is in a module that the job won't have.
        DataError: training would fail at its start, or at an unreadable image.
    """
    if spec.source is None:
        _require_importable(spec)
    data = spec.channels.get(DATA_CHANNEL)
    if spec.source is not None or data is None or not data.exists():
        return
    skips = spec.hyperparameters.get("on_bad_image") == "skip"
    check_images(data, spec.channels.get(LABELS_CHANNEL), skip_bad=skips)


def _require_importable(spec: JobSpec) -> None:
    """Refuse own code in modules that are installed here, but not in the job."""
    for what, path in paths_in(spec.hyperparameters).items():
        if path.top not in spec.modules and path.top.removesuffix(".py") not in {
            *(name.removesuffix(".py") for name in spec.modules),
            *sys.stdlib_module_names,
            *_IN_THE_JOB,
        }:
            raise ConfigError(
                f"{what} {path}: {path.top} is installed on this machine, but a job on SageMaker doesn't have it; copy "
                "the code into a module of your own, which is sent with the job"
            )


def check_images(data: Path, labels: Path | None = None, *, skip_bad: bool = False) -> None:
    """Run the dataset check on a folder or table.

    Raises:
        DataError: training would fail at its start, or at an unreadable image (unless `skip_bad`).
    """
    from breedclf.data_check import check
    from breedclf.data_check.result import FATAL, FATAL_UNLESS_SKIPPED

    fatal = FATAL if skip_bad else FATAL | FATAL_UNLESS_SKIPPED
    problems = [problem for problem in check(data, labels=labels, quiet=True).problems if problem.kind in fatal]
    if problems:
        shown = "; ".join(f"{problem.path}: {problem.kind}, {problem.detail}" for problem in problems[:_SHOWN])
        raise DataError(
            f"training on {data} would fail ({len(problems)} problems): {shown}. `breedclf data check {data}"
            f"{'' if labels is None else f' --labels {labels}'}` lists all of them; nothing was uploaded"
        )
