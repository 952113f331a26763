"""Published weights: torchvision's, with their preprocessing; downloaded once and verified by their checksum."""

from __future__ import annotations

import hashlib
import logging
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

import torch

from breedclf.config import WEIGHTS_NAMES
from breedclf.config.architectures import TIMM
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import DiskError, WeightsError
from breedclf.files.disk import is_refusal, refusal, replacing
from breedclf.files.known_checksums import sha256_of
from breedclf.files.private_folder import make_private
from breedclf.models.backbones.timm_networks import timm_preprocessing
from breedclf.runtime.progress import progress_bar
from breedclf.runtime.vision import WeightsEnum, get_model_weights

log: logging.Logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 30.0
REMEDY = "fetch or save it again"
_DOWNLOAD_CHUNK_BYTES = 1 << 20


def weights_file(architecture: str, weights: str, *, timeout_seconds: float = CONNECT_TIMEOUT_SECONDS) -> Path:
    """The file of `weights`: a name of torchvision's weights, downloaded if necessary, or a path.

    Raises:
        WeightsError: there are no such weights, they can't be downloaded, or the file is named like one of
            torchvision's and has other content.
    """
    if weights in WEIGHTS_NAMES:
        return pretrained_file(architecture, weights, timeout_seconds=timeout_seconds)
    path = Path(weights)
    if architecture.startswith(TIMM):
        return path
    published = {known.url.rpartition("/")[2] for known in get_model_weights(architecture)}
    if path.name in published and path.is_file() and (problem := _wrong_content(path)):
        raise WeightsError(f"weights file {path} is damaged, or isn't what its name says: {problem}; {REMEDY}")
    return path


def preprocessing_for(architecture: str, weights: str) -> Preprocessing:
    """The preprocessing that the weights were trained with; for files and random weights, that of IMAGENET1K_V1."""
    if architecture.startswith(TIMM):
        return timm_preprocessing(architecture.removeprefix(TIMM))
    name = weights if weights in WEIGHTS_NAMES and weights != "none" else "IMAGENET1K_V1"
    transforms = torchvision_weights(architecture, name).transforms()
    return Preprocessing(
        resize_px=transforms.resize_size[0],
        crop_px=transforms.crop_size[0],
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
        color="srgb",
    )


def pretrained_file(
    architecture: str,
    name: str,
    *,
    timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    total_seconds: float | None = None,
) -> Path:
    """The file of torchvision's weights `name`, downloaded unless it is already there.

    Raises:
        WeightsError: there are no such weights, or the download fails (or exceeds `total_seconds`, if given).
    """
    url = torchvision_weights(architecture, name).url
    return download(url, downloads_folder(), timeout_seconds=timeout_seconds, total_seconds=total_seconds)


def downloads_folder() -> Path:
    """torchvision's own download folder, so that weights are fetched once for both libraries."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def download(
    url: str, folder: Path, *, timeout_seconds: float = CONNECT_TIMEOUT_SECONDS, total_seconds: float | None = None
) -> Path:
    """Download a file once. Its name contains the start of its sha256, which is verified whenever the file has changed.

    A damaged file is downloaded again. `timeout_seconds` limits each wait for the server, `total_seconds` the whole
    download; both are in seconds.

    Raises:
        WeightsError: no connection, an error from the server, or a file whose checksum doesn't match its name.
        DiskError: the file can't be written.
    """
    target = folder / url.rpartition("/")[2]
    damage = ""
    if target.is_file():
        if not (problem := _wrong_content(target)):
            return target
        damage = f"{target} is damaged: {problem}; "
        log.warning("%sfetching it again", damage)
    try:
        make_private(folder.parent)
        folder.mkdir(exist_ok=True)
        with replacing(target) as temporary:
            temporary.touch(mode=0o600, exist_ok=False)
            with temporary.open("wb") as part:
                sha256 = _fetch_into(part, url, timeout_seconds, total_seconds)
            if wrong := _wrong_content(target, sha256):
                raise WeightsError(f"the download of {target.name} is damaged: {wrong}")
    except (OSError, urllib.error.URLError) as error:
        if is_refusal(error):
            raise DiskError(f"{target} can't be written: {refusal(error)}; make room, or set TORCH_HOME") from error
        raise WeightsError(
            f"{damage}pretrained weights can't be downloaded from {url}: {error}. Without a network, put the file at "
            f"{target}, or pass a state dict you have by --weights FILE, or --weights none for random ones"
        ) from error
    return target


def _fetch_into(part: BinaryIO, url: str, timeout_seconds: float, total_seconds: float | None) -> str:
    started = time.monotonic()
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=timeout_seconds) as response:
        expected = int(response.headers.get("Content-Length") or 0)
        received = 0
        with progress_bar("weights", total=expected or None, unit="B", unit_scale=True) as bar:
            while chunk := response.read1(_DOWNLOAD_CHUNK_BYTES):
                if total_seconds is not None and time.monotonic() - started > total_seconds:
                    raise OSError(f"only {received:,} of {expected:,} bytes came in {total_seconds:g} s")
                part.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    if received < expected:
        raise OSError(f"the connection ended after {received} of {expected} bytes")
    return digest.hexdigest()


def torchvision_weights(architecture: str, name: str) -> WeightsEnum:
    """torchvision's entry for the weights `name`, with their URL and transforms.

    Raises:
        WeightsError: the architecture has no weights of that name.
    """
    enum = get_model_weights(architecture)
    if name not in enum.__members__:
        have = ", ".join(enum.__members__)
        raise WeightsError(f"there are no {name} weights of {architecture}; there are {have}")
    return enum[name]


def _wrong_content(path: Path, sha256: str | None = None) -> str | None:
    """How a file's checksum differs from the one at the end of its name; None if it matches."""
    try:
        found = sha256_of(path) if sha256 is None else sha256
    except OSError as error:
        return f"it can't be read ({error.strerror})"
    prefix = path.stem.rpartition("-")[2]
    return None if found.startswith(prefix) else f"its sha256 starts {found[:8]}, not {prefix}"
