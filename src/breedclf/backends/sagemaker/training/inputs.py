"""What a job reads, on its way into S3: code, pictures, weights, each under a name made from its content."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from breedclf.backends.common.bundle import ARCHIVE, Bundle, breedclf_bundle, settings_requirements, source_bundle
from breedclf.backends.sagemaker.context import Place
from breedclf.backends.sagemaker.s3.manifest import Manifest, nothing, read_manifest, sha256_of
from breedclf.backends.sagemaker.s3.transfer import upload_folder
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.training.request import JobPlaces
from breedclf.errors import ConfigError, DataError
from breedclf.jobs import DATA_CHANNEL, WEIGHTS_CHANNEL, JobSpec, remote_address
from breedclf.tuning.packed import requirements_of

REQUIREMENTS = "requirements.txt"
WHEELS = "wheels"
_SHOWN = 5
_SAFE = re.compile(r"[^A-Za-z0-9._\-]+")
_FINGERPRINT_CHARS = 16


@dataclass
class Inputs:
    """Finds and sends what jobs read; what S3 holds already is compared, since anybody may have put it there."""

    place: Place
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def planned(self, spec: JobSpec) -> JobPlaces:
        """Where everything will lie, without sending it.

        Raises:
            ConfigError: the source or a channel isn't there, or doesn't fit.
        """
        return self._places(self._code(spec), self._channels(spec))

    def sent(self, spec: JobSpec) -> JobPlaces:
        """Send what S3 lacks of a job that `require_trainable` has passed, and say where everything lies.

        Raises:
            ConfigError: the source or a channel isn't there, or doesn't fit.
            BreedclfError: S3 can't be reached or refuses.
        """
        code = self._code(spec)
        channels = self._channels(spec)
        places = self._places(code, channels)
        with self._lock:  # two of the same code send it once
            self.place.storage.keep(f"{places.code}/{ARCHIVE}", code.archive())
        for name, uri in places.channels.items():
            path = spec.channels[name]
            if remote_address(path) is not None:
                continue
            if path.is_dir():
                manifest_uri = f"{uri}.manifest.json"
                unread = _unread_of(spec, name)
                upload_folder(self.place.storage, path, uri, manifest_uri=manifest_uri, unread=unread)
            else:
                self.place.storage.keep(f"{uri}/{path.name}", path)
        return places

    def _places(self, code: Bundle, channels: Mapping[str, str]) -> JobPlaces:
        return JobPlaces(
            code=self.place.uri("code", code.content_sha256[:32]), channels=channels, jobs=self.place.uri("jobs")
        )

    def _code(self, spec: JobSpec) -> Bundle:
        bundle = (
            breedclf_bundle(
                [
                    *requirements_of(spec.hyperparameters),
                    *settings_requirements(spec.hyperparameters),
                ]
            )
            if spec.source is None
            else source_bundle(spec.source)
        )
        return with_wheels(bundle, self.place.settings)

    def _channels(self, spec: JobSpec) -> dict[str, str]:
        return {name: self._address(name, path, _unread_of(spec, name)) for name, path in spec.channels.items()}

    def _address(self, name: str, path: Path, unread: Callable[[str], bool]) -> str:
        if (remote := remote_address(path)) is not None:
            return remote
        if path.is_dir():
            return self.place.uri("data", folder_name(path, read_manifest(path, unread)))
        if path.is_file():
            kind = "weights" if name == WEIGHTS_CHANNEL else "data"
            return self.place.uri(kind, sha256_of(path)[:32])
        raise ConfigError(f"channel {name}: {path} is not there")


def folder_name(folder: Path, manifest: Manifest) -> str:
    """A folder's name in S3: readable, and another one when a file changes, so that no job's input changes under it.

    Example:
        >>> folder_name(Path("/data/dog images"), Manifest({}))
        'dog-images-e3b0c44298fc1c14'
    """
    readable = _SAFE.sub("-", folder.absolute().name).strip("-.") or "data"
    return f"{readable}-{manifest.fingerprint[:_FINGERPRINT_CHARS]}"


def with_wheels(bundle: Bundle, settings: SageMakerSettings) -> Bundle:
    """The bundle with the wheels of the settings, which pip then looks at first, or at nothing else if it must not.

    Raises:
        ConfigError: the folder of wheels isn't there or holds none.
    """
    if settings.wheels is None:
        return bundle
    found = sorted(settings.wheels.glob("*.whl"))
    if not found:
        raise ConfigError(
            f"wheels={str(settings.wheels)!r} holds no *.whl; fill it by `pip download -d {settings.wheels} -r "
            "requirements.txt` for the image's Python"
        )
    where = f"--find-links {WHEELS}\n" + ("--no-index\n" if settings.network_isolation else "")
    files = dict(bundle.files)
    files[REQUIREMENTS] = where.encode() + files.get(REQUIREMENTS, b"")
    return Bundle({**files, **{f"{WHEELS}/{path.name}": path.read_bytes() for path in found}})


def set_aside_in(folder: Path) -> Callable[[str], bool]:
    """Tells of a folder or file below `folder`, by its name, whether a training sets it aside; told in one log line.

    Raises:
        DataError: the folder isn't there or can't be read.
    """
    from breedclf.data.image_folder import tell
    from breedclf.data.layout import layout_of
    from breedclf.data.layout.disk import list_folder

    layout = layout_of(list_folder(folder))
    tell(folder, layout)
    return layout.unread


def _unread_of(spec: JobSpec, channel: str) -> Callable[[str], bool]:
    """What of a channel stays behind: only of images for breedclf's own training; a script may read anything."""
    folder = spec.channels[channel]
    if channel != DATA_CHANNEL or spec.source is not None or not folder.is_dir():
        return nothing
    return set_aside_in(folder)


def require_trainable(spec: JobSpec) -> None:
    """Look at the pictures before anything is sent or paid for.

    Raises:
        DataError: a training would end at once, or at an unreadable picture.
    """
    folder = spec.channels.get(DATA_CHANNEL)
    if spec.source is not None or folder is None or not folder.is_dir():
        return
    skips = spec.hyperparameters.get("on_bad_image") == "skip"
    check_images(folder, skip_bad=skips)


def check_images(folder: Path, *, skip_bad: bool = False) -> None:
    """Let the doctor look at a folder.

    Raises:
        DataError: a training would end at once, or at an unreadable picture that it isn't told to skip.
    """
    from breedclf.data_check import check
    from breedclf.data_check.result import FATAL, FATAL_UNLESS_SKIPPED

    fatal = FATAL if skip_bad else FATAL | FATAL_UNLESS_SKIPPED
    problems = [problem for problem in check(folder, quiet=True).problems if problem.kind in fatal]
    if problems:
        shown = "; ".join(f"{problem.path}: {problem.kind}, {problem.detail}" for problem in problems[:_SHOWN])
        raise DataError(
            f"a training on {folder} would fail ({len(problems)} problems): {shown}. `breedclf data check {folder}` "
            "tells everything; nothing was uploaded"
        )
