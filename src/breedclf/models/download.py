"""Downloads of weights: once, verified by the checksum in the file's name, into torchvision's own folder."""

from __future__ import annotations

import hashlib
import logging
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

import torch

from breedclf.errors import DiskError, WeightsError
from breedclf.files.disk import is_refusal, refusal, replacing
from breedclf.files.known_checksums import sha256_of
from breedclf.files.private_folder import make_private
from breedclf.runtime.progress import progress_bar

log: logging.Logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 30.0
REMEDY = "fetch or save it again"
_DOWNLOAD_CHUNK_BYTES = 1 << 20


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
        if not (problem := wrong_content(target)):
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
            if wrong := wrong_content(target, sha256):
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


def wrong_content(path: Path, sha256: str | None = None) -> str | None:
    """How a file's checksum differs from the one at the end of its name; None if it matches."""
    try:
        found = sha256_of(path) if sha256 is None else sha256
    except OSError as error:
        return f"it can't be read ({error.strerror})"
    prefix = path.stem.rpartition("-")[2]
    return None if found.startswith(prefix) else f"its sha256 starts {found[:8]}, not {prefix}"
