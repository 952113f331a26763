"""A published set, from its archives to a folder that a training takes; interrupted at any moment, it goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from breedclf.downloads.arrange import SPLIT_FOLDERS
from breedclf.downloads.catalogue import Published
from breedclf.downloads.fetch import Web, fetch
from breedclf.downloads.unpack import unpack
from breedclf.errors import ConfigError, DataError
from breedclf.files.paths import user_path

WORK_FOLDER = ".breedclf-download"
MOVING_MARK = "moving"
SOURCE_FILE = "SOURCE.txt"
_UNPACKED_SHARE = 1.15
"""Photos hardly shrink in an archive, so that they unpack to about its size."""


@dataclass(frozen=True)
class Fetched:
    """What was fetched: images by split, the number of classes, and listed images that the archives lack."""

    name: str
    output: str
    splits: dict[str, int]
    classes: int
    missing: list[str]
    licence: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def get(
    published: Published,
    output: Path,
    *,
    web: Web | None = None,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    quiet: bool = False,
) -> Fetched:
    """Fetch the archives, unpack them and arrange the images as `output/SPLIT/CLASS/`.

    Until all is done everything lies in `output/.breedclf-download`, and a further call goes on from there.

    Raises:
        ConfigError: `output` holds something else, can't be written, or is being filled by another process.
        DownloadError: an archive can't be fetched, or isn't the published one.
        DataError: there is too little room, or an archive is damaged, unsafe or laid out in another way.
    """
    started = time.perf_counter()
    output = user_path(output, "output")
    work = output / WORK_FOLDER
    with _alone(output, work):
        _refuse_other_content(output, work)
        _check_room(published, work, output, free_bytes)
        archives = [fetch(archive, work, web, quiet=quiet) for archive in published.archives]
        for half_done in ("unpacked", "arranged"):
            shutil.rmtree(work / half_done, ignore_errors=True)
        with tqdm(desc="unpacking", unit="file", leave=False, disable=True if quiet else None) as bar:
            for archive in archives:
                unpack(archive, work / "unpacked", tell=bar.update)
        arranged = published.arrange(work / "unpacked", work / "arranged")
        (work / MOVING_MARK).touch()
        for split in arranged.splits:
            (work / "arranged" / split).replace(output / split)
        (output / SOURCE_FILE).write_text(_source(published), encoding="utf-8")
        (work / MOVING_MARK).unlink()
    shutil.rmtree(work, ignore_errors=True)
    seconds = round(time.perf_counter() - started, 3)
    return Fetched(
        published.name, str(output), arranged.splits, arranged.classes, arranged.missing, published.licence, seconds
    )


@contextmanager
def _alone(output: Path, work: Path) -> Iterator[None]:
    """The output folder with the work folder in it, for this process only."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work / "lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"output {output}: another process is fetching images into it") from error
    except OSError as error:
        raise ConfigError(f"output {output} can't be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def _refuse_other_content(output: Path, work: Path) -> None:
    """Only what an interrupted run moved here may be deleted, and only its mark tells that it did."""
    if (work / MOVING_MARK).exists():
        for split in SPLIT_FOLDERS:
            shutil.rmtree(output / split, ignore_errors=True)
        (output / SOURCE_FILE).unlink(missing_ok=True)
        (work / MOVING_MARK).unlink()
    others = sorted(path.name for path in output.iterdir() if path.name != WORK_FOLDER)
    if others:
        if all(path.name == "lock" for path in work.iterdir()):
            shutil.rmtree(work, ignore_errors=True)
        raise ConfigError(f"output {output} already holds {others[0]!r}; give a new or an empty folder")


def _check_room(published: Published, work: Path, output: Path, free_bytes: Callable[[Path], int]) -> None:
    there = sum(file.stat().st_size for file in work.iterdir() if file.is_file())
    needed = round(published.size_bytes * (1 + _UNPACKED_SHARE)) - there
    if (free := free_bytes(work)) < needed:
        raise DataError(
            f"output {output}: {published.name} needs {needed / 1e9:.1f} GB while it is unpacked, "
            f"but only {free / 1e9:.1f} GB are free; give a folder on another disk"
        )


def _source(published: Published) -> str:
    addresses = "\n".join(archive.urls[0] for archive in published.archives)
    return f"{published.title}\n{published.page}\nLicence: {published.licence}\n\nArranged from\n{addresses}\n"
