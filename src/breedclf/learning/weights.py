"""Pretrained weights: from torchvision's download, a local file or a seed, always as the backbone's state dict."""

from __future__ import annotations

import hashlib
import logging
import pickle
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm import tqdm

from breedclf.config import WEIGHTS_NAMES, Architecture
from breedclf.errors import WeightsError
from breedclf.learning.model import StateDict, empty_network, new_network
from breedclf.learning.preprocessing import Preprocessing
from breedclf.learning.vision import WeightsEnum, get_model_weights
from breedclf.private_folder import make_private

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 30.0
_HEAD = "fc."
_MAX_KEYS_SHOWN = 4
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
    state = _without_head(read_state(path))
    _check_fit(state, architecture, path)
    return state


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
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"weights file {path} holds pickled code or objects and is refused, since loading it could run that code; "
            "save a plain state dict (torch.save(model.state_dict(), ...)) or safetensors"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, SafetensorError) as error:
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
    """Fetch a file once; its name carries the start of its sha256, which is checked.

    `timeout_seconds` bounds each wait for the server, `total_seconds` the whole.

    Raises:
        WeightsError: no connection, an error from the server, or a file that isn't what its name says.
    """
    target = folder / url.rpartition("/")[2]
    if target.is_file():
        return target
    try:
        make_private(folder.parent)
        folder.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=target.name, suffix=".part", delete=False) as part:
            temporary = Path(part.name)
            try:
                sha256 = _fetch_into(part, url, timeout_seconds, total_seconds)
                _check_name(target, sha256)
                part.close()
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
    except (OSError, urllib.error.URLError) as error:
        raise WeightsError(
            f"pretrained weights can't be downloaded from {url}: {error}. Without a network, put the file at {target}, "
            "or pass a state dict you have by --weights FILE, or --weights none for random ones"
        ) from error
    return target


def _fetch_into(part: object, url: str, timeout_seconds: float, total_seconds: float | None) -> str:
    started = time.monotonic()
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=timeout_seconds) as answer:
        expected = int(answer.headers.get("Content-Length") or 0)
        received = 0
        with tqdm(total=expected or None, unit="B", unit_scale=True, desc="weights", leave=False, disable=None) as bar:
            while chunk := answer.read1(_DOWNLOAD_CHUNK_BYTES):
                if total_seconds is not None and time.monotonic() - started > total_seconds:
                    raise OSError(f"only {received:,} of {expected:,} bytes came in {total_seconds:g} s")
                part.write(chunk)  # type: ignore[attr-defined]
                digest.update(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    if received < expected:
        raise OSError(f"the connection ended after {received} of {expected} bytes")
    return digest.hexdigest()


def _check_name(target: Path, sha256: str) -> None:
    prefix = target.stem.rpartition("-")[2]
    if not sha256.startswith(prefix):
        raise WeightsError(f"the download of {target.name} is damaged: its sha256 starts {sha256[:8]}, not {prefix}")


def _pretrained(architecture: Architecture, name: str) -> WeightsEnum:
    enum = get_model_weights(architecture)
    if name not in enum.__members__:
        have = ", ".join(enum.__members__)
        raise WeightsError(f"there are no {name} weights of {architecture}; there are {have}")
    return enum[name]


def _without_head(state: StateDict) -> StateDict:
    return {name: tensor for name, tensor in state.items() if not name.startswith(_HEAD)}


def _check_fit(state: StateDict, architecture: Architecture, path: Path) -> None:
    expected = _without_head(empty_network(architecture, 1).state_dict())
    optional = {name for name in expected if name.endswith("num_batches_tracked")}
    missing = sorted(set(expected) - set(state) - optional)
    unexpected = sorted(set(state) - set(expected))
    misshapen = [
        f"{name} is {list(state[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names[:_MAX_KEYS_SHOWN])}{', ...' if len(names) > _MAX_KEYS_SHOWN else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if names
    ]
    if problems:
        raise WeightsError(f"weights file {path} doesn't fit {architecture}: {'; '.join(problems)}")
    for name in optional - set(state):
        state[name] = torch.zeros((), dtype=torch.long)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
