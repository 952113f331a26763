"""Download a published dataset into a folder for training; an interrupted download can be resumed at any point."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from breedclf.downloads.arrange import SPLIT_FOLDERS
from breedclf.downloads.catalogue import Published
from breedclf.downloads.fetch import Web, fetch
from breedclf.downloads.unpack import unpack
from breedclf.errors import ConfigError, DataError
from breedclf.files.paths import user_path
from breedclf.runtime.progress import progress_bar

WORK_FOLDER = ".breedclf-download"
MOVING_MARKER = "moving"
SOURCE_FILE = "SOURCE.txt"
_UNPACKED_SHARE = 1.15
"""Photos hardly compress, so archives unpack to about their own size."""


@dataclass(frozen=True)
class Fetched:
    """A downloaded dataset: images by split, number of classes, and listed images that are missing in the archives."""

    name: str
    output: str
    splits: dict[str, int]
    classes: int
    missing: list[str]
    license: str
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """The result as JSON values; the license has the key `licence`, which scripts rely on."""
        return {"licence" if name == "license" else name: value for name, value in asdict(self).items()}


def get(
    published: Published,
    output: Path,
    *,
    web: Web | None = None,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    quiet: bool = False,
) -> Fetched:
    """Download the archives, unpack them and arrange the images as `output/SPLIT/CLASS/`.

    All intermediate files are in `output/.breedclf-download`, from which another call resumes.

    Args:
        published: a dataset of `PUBLISHED`.
        output: a new or empty folder.
        web: access to the web (default: urllib).
        free_bytes: returns the free bytes of a folder's disk.
        quiet: no progress bars.

    Raises:
        ConfigError: `output` has other contents, can't be written, or is in use by another process.
        DownloadError: an archive can't be downloaded, or isn't the published one.
        DataError: there is too little disk space, or an archive is damaged, unsafe or has an unexpected layout.
    """
    started = time.perf_counter()
    output = user_path(output, "output")
    work = output / WORK_FOLDER
    with _locked(output, work):
        _refuse_other_content(output, work)
        _check_room(published, work, output, free_bytes)
        archives = [fetch(archive, work, web, quiet=quiet) for archive in published.archives]
        for unfinished in ("unpacked", "arranged"):
            shutil.rmtree(work / unfinished, ignore_errors=True)
        with progress_bar("unpacking", unit="file", hidden=quiet) as bar:
            for archive in archives:
                unpack(archive, work / "unpacked", on_files=bar.update)
        arranged = published.arrange(work / "unpacked", work / "arranged")
        (work / MOVING_MARKER).touch()
        for split in arranged.splits:
            (work / "arranged" / split).replace(output / split)
        (output / SOURCE_FILE).write_text(_source(published), encoding="utf-8")
        (work / MOVING_MARKER).unlink()
    shutil.rmtree(work, ignore_errors=True)
    seconds = round(time.perf_counter() - started, 3)
    return Fetched(
        published.name, str(output), arranged.splits, arranged.classes, arranged.missing, published.license, seconds
    )


@contextmanager
def _locked(output: Path, work: Path) -> Iterator[None]:
    """Create the output and work folders and lock them for this process."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work / "lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"output {output}: another process is downloading images into it") from error
    except OSError as error:
        raise ConfigError(f"output {output} can't be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def _refuse_other_content(output: Path, work: Path) -> None:
    """Delete what an interrupted run moved here, if its marker shows that it did, and refuse any other content."""
    if (work / MOVING_MARKER).exists():
        for split in SPLIT_FOLDERS:
            shutil.rmtree(output / split, ignore_errors=True)
        (output / SOURCE_FILE).unlink(missing_ok=True)
        (work / MOVING_MARKER).unlink()
    others = sorted(path.name for path in output.iterdir() if path.name != WORK_FOLDER)
    if others:
        if all(path.name == "lock" for path in work.iterdir()):
            shutil.rmtree(work, ignore_errors=True)
        raise ConfigError(f"output {output} already holds {others[0]!r}; give a new or an empty folder")


def _check_room(published: Published, work: Path, output: Path, free_bytes: Callable[[Path], int]) -> None:
    downloaded = sum(file.stat().st_size for file in work.iterdir() if file.is_file())
    needed = round(published.size_bytes * (1 + _UNPACKED_SHARE)) - downloaded
    if (free := free_bytes(work)) < needed:
        raise DataError(
            f"output {output}: {published.name} needs {needed / 1e9:.1f} GB while it is being unpacked, "
            f"but only {free / 1e9:.1f} GB are free; give a folder on another disk"
        )


def _source(published: Published) -> str:
    urls = "\n".join(archive.urls[0] for archive in published.archives)
    return f"{published.title}\n{published.page}\nLicense: {published.license}\n\nArranged from\n{urls}\n"
