"""An examination of a folder of pictures: everything is decoded once, nothing is written into it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from breedclf.data.images import read_file
from breedclf.data_check.cache import recall, remember
from breedclf.data_check.findings import counts_by_class, find_notes, find_problems, range_of
from breedclf.data_check.inspection import Look, digest_of, look_at
from breedclf.data_check.listing import Candidate, Listing, list_images
from breedclf.data_check.result import DatasetCheck
from breedclf.errors import DataError
from breedclf.files.cache_folder import cache_folder
from breedclf.files.paths import user_path

TINY_PX = 32
_FILES_A_TASK = 16


def check(
    folder: str | Path,
    *,
    tiny_px: int = TINY_PX,
    threads: int | None = None,
    cache_dir: Path | None = None,
    fresh: bool = False,
    quiet: bool = False,
) -> DatasetCheck:
    """Decode every picture that a training would take from `folder`, and say what is wrong.

    Nothing is written into the folder. What was found is remembered below the cache folder, and files that haven't
    changed since (by size, times and inode) aren't read again unless `fresh` is set.

    Args:
        folder: holds train/ and further splits, or the class folders.
        tiny_px: pictures whose shorter side is less are reported.
        threads: how many files are decoded at a time (default: one a core; Pillow decodes outside Python's lock).
        cache_dir: where to remember (default: BREEDCLF_CACHE_DIR, or the platform's cache folder).
        quiet: no progress bar.

    Raises:
        DataError: the folder doesn't exist or can't be listed.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for label in ("cat", "dog"):
        ...     (root / label).mkdir()
        ...     for number in range(2):
        ...         Image.effect_noise((64, 64), 50).save(root / label / f"{number}.png")
        >>> _ = (root / "dog" / "broken.jpg").write_bytes(b"no picture")
        >>> [(problem.kind, problem.path) for problem in check(root, quiet=True).problems]
        [('unreadable', 'dog/broken.jpg')]
    """
    started = time.perf_counter()
    root = user_path(folder, "folder")
    listing = list_images(root)
    cache = cache_folder(cache_dir)
    known = {} if fresh else recall(cache, root)
    looks: dict[Candidate, Look] = {}
    for picture in listing.pictures:
        stamp, look = known.get(picture.path, (None, None))
        if look is not None and stamp == picture.stamp:
            looks[picture] = look
    remembered = len(looks)
    twins = _of_equal_size(listing.pictures)
    todo = [p for p in listing.pictures if p not in looks or (p in twins and looks[p].digest is None)]
    try:
        for picture, look in _look_at_all(root, todo, looks, twins, threads=threads, quiet=quiet):
            looks[picture] = look
    finally:
        if todo:  # also when interrupted: what was found so far needn't be found again
            remember(cache, root, looks)
    in_order = {picture: looks[picture] for picture in listing.pictures}
    return _examination(listing, in_order, tiny_px, remembered, started)


def _of_equal_size(pictures: Sequence[Candidate]) -> set[Candidate]:
    """Only files of the same size can be the same, so that only these are hashed."""
    sizes = Counter(picture.stamp.size for picture in pictures)
    return {picture for picture in pictures if picture.stamp.size and sizes[picture.stamp.size] > 1}


def _look_at_all(
    root: Path,
    todo: Sequence[Candidate],
    known: Mapping[Candidate, Look],
    twins: set[Candidate],
    *,
    threads: int | None,
    quiet: bool,
) -> Iterator[tuple[Candidate, Look]]:
    def look(picture: Candidate) -> tuple[Candidate, Look]:
        path = root / picture.path
        if picture in known:
            try:
                return picture, replace(known[picture], digest=digest_of(read_file(path)))
            except DataError:
                pass
        return picture, look_at(path, with_digest=picture in twins)

    def look_at_some(pictures: Sequence[Candidate]) -> list[tuple[Candidate, Look]]:
        return [look(picture) for picture in pictures]

    tasks = [todo[at : at + _FILES_A_TASK] for at in range(0, len(todo), _FILES_A_TASK)]
    bar = tqdm(total=len(todo), desc="checking", unit="img", leave=False, disable=True if quiet else None)
    pool = ThreadPoolExecutor(threads or _cores(), thread_name_prefix="doctor")
    try:
        for done in pool.map(look_at_some, tasks):
            bar.update(len(done))
            yield from done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        bar.close()


def _examination(
    listing: Listing, looks: Mapping[Candidate, Look], tiny_px: int, remembered: int, started: float
) -> DatasetCheck:
    readable = [(picture, look, look.facts) for picture, look in looks.items() if look.facts]
    images_in = Counter(picture.split for picture in looks)
    return DatasetCheck(
        folder=str(listing.root),
        problems=find_problems(listing, looks, tiny_px=tiny_px),
        notes=find_notes(listing, looks),
        splits={split: images_in[split] for split in listing.labels},
        classes=counts_by_class(listing, looks),
        pictures=len(looks),
        readable=len(readable),
        remembered=remembered,
        formats=_counted(facts.format_name for _, _, facts in readable),
        modes=_counted(facts.mode for _, _, facts in readable),
        orientations=_counted(str(facts.orientation) for _, _, facts in readable),
        animated=sum(look.animated for _, look, _ in readable),
        converted=sum(facts.converted for _, _, facts in readable),
        width_px=range_of([facts.width for _, _, facts in readable]),
        height_px=range_of([facts.height for _, _, facts in readable]),
        file_bytes=range_of([picture.stamp.size for picture, _, _ in readable]),
        seconds=round(time.perf_counter() - started, 3),
    )


def _counted(names: Iterator[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
