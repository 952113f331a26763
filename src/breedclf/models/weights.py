"""Pretrained weights: from torchvision's download, a local file or a seed, always as the backbone's state dict."""

from __future__ import annotations

import hashlib
import logging
import pickle
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors.torch import load_file
from tqdm import tqdm

from breedclf.config import WEIGHTS_NAMES, Architecture
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import DiskError, WeightsError
from breedclf.files.disk import is_refusal, refusal, replacing
from breedclf.files.known_checksums import sha256_of
from breedclf.files.private_folder import make_private
from breedclf.models.network import StateDict, empty_network, new_network
from breedclf.models.state_check import faults, misfits, with_counters
from breedclf.runtime.vision import WeightsEnum, get_model_weights

log: logging.Logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 30.0
_HEAD = "fc."
_ZIP_MAGIC = b"PK\x03\x04"
_REMEDY = "fetch or save it again"
_DOWNLOAD_CHUNK_BYTES = 1 << 20


def backbone_state(
    architecture: Architecture, weights: str, *, seed: int = 0, timeout_seconds: float = CONNECT_TIMEOUT_SECONDS
) -> StateDict:
    """The state dict of everything but the last layer.

    `weights` is `IMAGENET1K_V1`, `IMAGENET1K_V2`, `none` (drawn with `seed`) or a file: a torch state dict without
    pickled code, or safetensors.

    Raises:
        WeightsError: the weights can't be had, aren't safe to load, or don't fit the architecture.
    """
    if weights == "none":
        return _without_head(new_network(architecture, seed=seed).state_dict())
    if weights in WEIGHTS_NAMES:
        path = pretrained_file(architecture, weights, timeout_seconds=timeout_seconds)
    else:
        path = Path(weights)
        _check_published_name(architecture, path)
    return _checked(_without_head(read_state(path)), architecture, path)


def preprocessing_for(architecture: Architecture, weights: str) -> Preprocessing:
    """The preprocessing that the weights were trained with; a file or random weights get that of IMAGENET1K_V1."""
    name = weights if weights in WEIGHTS_NAMES and weights != "none" else "IMAGENET1K_V1"
    made = _pretrained(architecture, name).transforms()
    return Preprocessing(
        resize_px=made.resize_size[0],
        crop_px=made.crop_size[0],
        mean=tuple(made.mean),
        std=tuple(made.std),
        interpolation=made.interpolation.value,
        color="srgb",
    )


def read_state(path: Path) -> StateDict:
    """Read a state dict from safetensors or from a torch file that holds tensors only.

    Raises:
        WeightsError: the file is missing, isn't a state dict, or would run code when loaded.
    """
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist; use one of {', '.join(WEIGHTS_NAMES)} or a file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"weights file {path} holds pickled code or objects and is refused, since loading it could run that code; "
            "save a plain state dict (torch.save(model.state_dict(), ...)) or safetensors"
        ) from error
    except WeightsError:
        raise
    except Exception as error:  # over a file that isn't its own, a reader may raise anything
        raise WeightsError(f"weights file {path} can't be read as a state dict: {_first_line(error)}") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"weights file {path} holds no state dict (a mapping of names to tensors)")
    return dict(state)


def fingerprint(state: StateDict) -> str:
    """A hash of names, shapes and values, equal for equal weights wherever they came from."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def pretrained_file(
    architecture: Architecture,
    name: str,
    *,
    timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    total_seconds: float | None = None,
) -> Path:
    """The file of torchvision's weights of that name, downloaded unless it is there.

    Raises:
        WeightsError: there are no such weights, or they can't be downloaded (within `total_seconds`, if given).
    """
    url = _pretrained(architecture, name).url
    return download(url, downloads_folder(), timeout_seconds=timeout_seconds, total_seconds=total_seconds)


def downloads_folder() -> Path:
    """Where torchvision keeps downloaded weights too, so that neither fetches what the other has."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def download(
    url: str, folder: Path, *, timeout_seconds: float = CONNECT_TIMEOUT_SECONDS, total_seconds: float | None = None
) -> Path:
    """Fetch a file once; its name carries the start of its sha256, which is checked whenever the file has changed.

    A damaged file is fetched again. `timeout_seconds` bounds each wait for the server, `total_seconds` the whole.

    Raises:
        WeightsError: no connection, an error from the server, or a file that isn't what its name says.
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
    with urllib.request.urlopen(url, timeout=timeout_seconds) as answer:
        expected = int(answer.headers.get("Content-Length") or 0)
        received = 0
        with tqdm(total=expected or None, unit="B", unit_scale=True, desc="weights", leave=False, disable=None) as bar:
            while chunk := answer.read1(_DOWNLOAD_CHUNK_BYTES):
                if total_seconds is not None and time.monotonic() - started > total_seconds:
                    raise OSError(f"only {received:,} of {expected:,} bytes came in {total_seconds:g} s")
                part.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    if received < expected:
        raise OSError(f"the connection ended after {received} of {expected} bytes")
    return digest.hexdigest()


def _pretrained(architecture: Architecture, name: str) -> WeightsEnum:
    enum = get_model_weights(architecture)
    if name not in enum.__members__:
        have = ", ".join(enum.__members__)
        raise WeightsError(f"there are no {name} weights of {architecture}; there are {have}")
    return enum[name]


def _without_head(state: StateDict) -> StateDict:
    return {name: tensor for name, tensor in state.items() if not name.startswith(_HEAD)}


def _check_archive(path: Path) -> None:
    """Check what torch writes beside each tensor and doesn't look at again; files of before torch 1.6 have none."""
    with path.open("rb") as file:
        if file.read(len(_ZIP_MAGIC)) != _ZIP_MAGIC:
            return
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(member.CRC for member in archive.infolist()):
                return  # saved under torch.serialization.set_crc32_options(False)
            damaged = archive.testzip()
    except Exception as error:  # zipfile may raise anything, too
        raise WeightsError(f"weights file {path} is damaged: {_first_line(error)}; {_REMEDY}") from error
    if damaged is not None:
        raise WeightsError(f"weights file {path} is damaged: the checksum of {damaged} is wrong; {_REMEDY}")


def _check_published_name(architecture: Architecture, path: Path) -> None:
    """A file that is called like one of torchvision's must be that one."""
    published = {weights.url.rpartition("/")[2] for weights in get_model_weights(architecture)}
    if path.name in published and path.is_file() and (problem := _wrong_content(path)):
        raise WeightsError(f"weights file {path} is damaged, or isn't what its name says: {problem}; {_REMEDY}")


def _wrong_content(path: Path, sha256: str | None = None) -> str | None:
    """How a file differs from what its name, which ends with the start of its sha256, says it is."""
    try:
        found = sha256_of(path) if sha256 is None else sha256
    except OSError as error:
        return f"it can't be read ({error.strerror})"
    prefix = path.stem.rpartition("-")[2]
    return None if found.startswith(prefix) else f"its sha256 starts {found[:8]}, not {prefix}"


def _checked(state: StateDict, architecture: Architecture, path: Path) -> StateDict:
    expected = _without_head(empty_network(architecture, 1).state_dict())
    if problems := misfits(state, expected):
        raise WeightsError(f"weights file {path} doesn't fit {architecture}: {'; '.join(problems)}")
    if problems := faults(state):
        raise WeightsError(
            f"weights file {path} can't be trained on: it has {'; '.join(problems)}; fetch or save the file again"
        )
    return with_counters(state, expected)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
