"""timm's published weights: what is known about them, their download from Hugging Face, and timm's own conversion."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from breedclf.config.architectures import TIMM
from breedclf.errors import DiskError, WeightsError
from breedclf.files.disk import is_refusal, refusal
from breedclf.files.known_checksums import sha256_of
from breedclf.models.backbones.backbone import StateDict
from breedclf.models.backbones.licenses import license_binds, license_name, license_text
from breedclf.models.backbones.published_weights import PublishedWeights
from breedclf.models.backbones.timm_accuracy import SOURCE, TOP1_PERCENT
from breedclf.models.backbones.timm_networks import timm_settings
from breedclf.models.download import CONNECT_TIMEOUT_SECONDS, download, downloads_folder
from breedclf.models.initialization import NotDrawn

log: logging.Logger = logging.getLogger(__name__)

PRETRAINED = "pretrained"
_FILES = ("model.safetensors", "pytorch_model.bin")
"""The names of weights on Hugging Face, in the order of preference."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def published_by_timm(architecture: str, weights: str) -> PublishedWeights:
    """What timm records of its weights.

    Raises:
        WeightsError: timm has none of that name.
        ConfigError: timm has no such network.
        MissingExtraError: timm isn't installed.
    """
    name = architecture.removeprefix(TIMM)
    settings = timm_settings(name)
    if weights != PRETRAINED:
        raise WeightsError(
            f"there are no {weights} weights of {architecture}; use {PRETRAINED} (timm's own), none or a file"
        )
    if not (settings.hf_hub_id or settings.url):
        raise WeightsError(
            f"timm has published no weights of {architecture}: use weights=none for random ones, a file, or another "
            "architecture"
        )
    url = f"https://huggingface.co/{settings.hf_hub_id}" if settings.hf_hub_id else str(settings.url)
    full_name = f"{settings.architecture}.{settings.tag}" if settings.tag else name
    percent = TOP1_PERCENT.get(full_name)
    return PublishedWeights(
        architecture=architecture,
        weights=weights,
        url=url,
        license=license_name(settings.license),
        license_url=license_text(settings.license, url),
        license_binds=license_binds(settings.license),
        top1=None if percent is None else round(percent / 100, 5),
        top1_source="" if percent is None else SOURCE,
        size_mb=None,
    )


def timm_weights_file(architecture: str, *, timeout_seconds: float = CONNECT_TIMEOUT_SECONDS) -> Path:
    """The file of timm's weights, downloaded by huggingface_hub into its own cache unless it is already there.

    Raises:
        WeightsError: it can't be downloaded, or is damaged.
    """
    settings = timm_settings(architecture.removeprefix(TIMM))
    if not settings.hf_hub_id:
        return download(str(settings.url), downloads_folder(), timeout_seconds=timeout_seconds)
    files = (settings.hf_hub_filename,) if settings.hf_hub_filename else _FILES
    return _from_hub(settings.hf_hub_id, files, timeout_seconds)


def converted(architecture: str, state: StateDict, classes: int) -> StateDict:
    """A state dict of the network's original project as timm itself loads it: with timm's names and shapes.

    Args:
        architecture: as in the settings.
        state: the state dict, with a head of this number of classes, or without one if it is 0.
        classes: the rows of that head.

    Raises:
        RuntimeError: it doesn't fit; the message is torch's.
    """
    import timm

    record = {"state_dict": dict(state), "file": None, "custom_load": False, "num_classes": classes}
    with NotDrawn():
        network = timm.create_model(
            architecture.removeprefix(TIMM), pretrained=True, num_classes=classes, pretrained_cfg_overlay=record
        )
    return network.state_dict()


def _from_hub(repository: str, files: tuple[str, ...], timeout_seconds: float) -> Path:
    """The first of these files that is in the cache or in the repository, verified."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import RemoteEntryNotFoundError

    for name in files:
        if isinstance(cached := try_to_load_from_cache(repository, name), str):
            if not (problem := _wrong_content(Path(cached))):
                return Path(cached)
            log.warning("%s is damaged: %s; fetching it again", cached, problem)
        try:
            path = _fetched(repository, name, timeout_seconds, again=cached is not None)
        except RemoteEntryNotFoundError:
            continue
        if problem := _wrong_content(path):
            raise WeightsError(f"the download of {name} from {_page(repository)} is damaged: {problem}")
        return path
    raise WeightsError(f"{_page(repository)} has no weights: none of {', '.join(files)}")


def _fetched(repository: str, name: str, timeout_seconds: float, *, again: bool) -> Path:
    import timm
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        path = hf_hub_download(
            repository,
            name,
            library_name="timm",
            library_version=timm.__version__,
            etag_timeout=timeout_seconds,
            force_download=again,
        )
    except RemoteEntryNotFoundError:
        raise
    except Exception as error:  # the client's own errors, those of its HTTP library, and the disk's
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and is_refusal(cause):
            raise DiskError(
                f"{constants.HF_HUB_CACHE} can't be written: {refusal(cause)}; make room, or set HF_HOME"
            ) from error
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".")
        raise WeightsError(
            f"pretrained weights can't be downloaded from {_page(repository)}: {reason}. Without a network, copy the "
            f"folder models--{repository.replace('/', '--')} from a machine that has it to {constants.HF_HUB_CACHE}, "
            "or pass a state dict you have by --weights FILE, or --weights none for random ones"
        ) from error
    return Path(path)


def _wrong_content(path: Path) -> str | None:
    """How the sha256 of a file in the cache differs from its name, which is the server's; None if it doesn't."""
    expected = path.resolve().name
    if not _SHA256.fullmatch(expected) or (found := sha256_of(path)) == expected:
        return None
    return f"its sha256 starts {found[:8]}, not {expected[:8]}"


def _page(repository: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repository}"
