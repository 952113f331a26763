"""The dataset check: decodes every image of a folder once and never writes into the folder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from breedclf.data.images import read_file
from breedclf.data.tables.places import place_of
from breedclf.data_check.cache import load_inspections, save_inspections
from breedclf.data_check.findings import counts_by_class, find_notes, find_problems, range_of
from breedclf.data_check.inspection import Inspection, digest_of, inspect_image
from breedclf.data_check.listing import Candidate, Listing, list_images
from breedclf.data_check.result import DatasetCheck
from breedclf.data_check.table_listing import list_table
from breedclf.errors import DataError
from breedclf.files.cache_folder import cache_folder
from breedclf.files.paths import StrPath, user_path
from breedclf.runtime.machine import available_cores
from breedclf.runtime.progress import progress_bar

TINY_PX = 32
_FILES_PER_TASK = 16


def check(
    folder: StrPath,
    *,
    labels: str | Path | None = None,
    tiny_px: int = TINY_PX,
    threads: int | None = None,
    cache_dir: Path | None = None,
    fresh: bool = False,
    quiet: bool = False,
) -> DatasetCheck:
    """Decode every image that training would read from `folder`, and report what is wrong.

    Nothing is written into the folder. Results are cached, and unchanged files (same size, times and inode) are not
    read again unless `fresh` is set.

    Args:
        folder: holds train/ and further splits, or the class folders; or a table of paths and labels.
        labels: a table of the labels, if `folder` has no class folders.
        tiny_px: images whose shorter side has fewer pixels are reported.
        threads: number of decoding threads (default: one per core; Pillow releases Python's lock while it decodes).
        cache_dir: where results are cached (default: BREEDCLF_CACHE_DIR, or the platform's cache folder).
        fresh: read every file, whatever is cached.
        quiet: no progress bar.

    Raises:
        DataError: the folder or table doesn't exist or can't be read.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for label in ("cat", "dog"):
        ...     (root / label).mkdir()
        ...     for number in range(2):
        ...         Image.effect_noise((64, 64), 50).save(root / label / f"{number}.png")
        >>> _ = (root / "dog" / "broken.jpg").write_bytes(b"not an image")
        >>> [(problem.kind, problem.path) for problem in check(root, quiet=True).problems]
        [('unreadable', 'dog/broken.jpg')]
    """
    started = time.perf_counter()
    data = user_path(folder, "folder")
    place = place_of(data, None if labels is None else user_path(labels, "labels"))
    cache = cache_folder(cache_dir)
    listing = list_images(data) if place is None else list_table(place)
    root = listing.root
    cached = {} if fresh else load_inspections(cache, root)
    inspections: dict[Candidate, Inspection] = {}
    for image in listing.images:
        file_stat, inspection = cached.get(image.path, (None, None))
        if inspection is not None and file_stat == image.file_stat:
            inspections[image] = inspection
    unchanged = len(inspections)
    twins = _of_equal_size(listing.images)
    todo = [each for each in listing.images if each not in inspections or _needs_digest(each, inspections, twins)]
    try:
        for image, inspection in _inspect_all(root, todo, inspections, twins, threads=threads, quiet=quiet):
            inspections[image] = inspection
    finally:
        if todo:  # also after an interruption: the next check continues from here
            save_inspections(cache, root, inspections)
    in_order = {image: inspections[image] for image in listing.images}
    return _result(listing, in_order, tiny_px, unchanged, started)


def _of_equal_size(images: Sequence[Candidate]) -> set[Candidate]:
    """The files that share their size with another file: only these can be duplicates and need a digest."""
    sizes = Counter(image.file_stat.size for image in images)
    return {image for image in images if image.file_stat.size and sizes[image.file_stat.size] > 1}


def _needs_digest(image: Candidate, inspections: Mapping[Candidate, Inspection], twins: set[Candidate]) -> bool:
    return image in twins and inspections[image].digest is None


def _inspect_all(
    root: Path,
    todo: Sequence[Candidate],
    cached: Mapping[Candidate, Inspection],
    twins: set[Candidate],
    *,
    threads: int | None,
    quiet: bool,
) -> Iterator[tuple[Candidate, Inspection]]:
    def inspect(image: Candidate) -> tuple[Candidate, Inspection]:
        path = root / image.path
        if image in cached:
            try:
                return image, replace(cached[image], digest=digest_of(read_file(path)))
            except DataError:
                pass
        return image, inspect_image(path, with_digest=image in twins)

    def inspect_some(images: Sequence[Candidate]) -> list[tuple[Candidate, Inspection]]:
        return [inspect(image) for image in images]

    tasks = [todo[start : start + _FILES_PER_TASK] for start in range(0, len(todo), _FILES_PER_TASK)]
    bar = progress_bar("checking", total=len(todo), hidden=quiet)
    pool = ThreadPoolExecutor(threads or available_cores(), thread_name_prefix="data-check")
    try:
        for done in pool.map(inspect_some, tasks):
            bar.update(len(done))
            yield from done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        bar.close()


def _result(
    listing: Listing, inspections: Mapping[Candidate, Inspection], tiny_px: int, cached: int, started: float
) -> DatasetCheck:
    readable = [(image, found, found.facts) for image, found in inspections.items() if found.facts]
    images_in = Counter(image.split for image in inspections)
    return DatasetCheck(
        folder=listing.table or str(listing.root),
        problems=find_problems(listing, inspections, tiny_px=tiny_px),
        notes=find_notes(listing, inspections),
        splits={split: images_in[split] for split in listing.labels},
        classes=counts_by_class(listing, inspections),
        images=len(inspections),
        readable=len(readable),
        cached=cached,
        formats=_counted(facts.format_name for _, _, facts in readable),
        modes=_counted(facts.mode for _, _, facts in readable),
        orientations=_counted(str(facts.orientation) for _, _, facts in readable),
        animated=sum(found.animated for _, found, _ in readable),
        converted=sum(facts.converted for _, _, facts in readable),
        width_px=range_of([facts.width for _, _, facts in readable]),
        height_px=range_of([facts.height for _, _, facts in readable]),
        file_bytes=range_of([image.file_stat.size for image, _, _ in readable]),
        seconds=round(time.perf_counter() - started, 3),
    )


def _counted(names: Iterator[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())
