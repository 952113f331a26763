"""Tries advice with real runs: each change alone, then all that paid off together, alternating with the baseline."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breedclf.config import TrainingConfig
from breedclf.data.layout.names import is_image_name
from breedclf.errors import BreedclfError
from breedclf.profiling.profile import Profile
from breedclf.profiling.rules import Finding
from breedclf.profiling.verified import (
    FAILED,
    Trial,
    Verification,
    conclude,
    confirm,
    curtailed,
    images_within,
    judge,
    runs_needed,
)

if TYPE_CHECKING:
    from breedclf.data.given_images import GivenImages
    from breedclf.data.images import ImageLike
    from breedclf.data.split import Split

REPEATS = 5
MOST_IMAGES = 256
_FEWEST_IMAGES = 8
# Settings that affect what is learned: advice may mention them, but speed recommendations never include them.
LEARNING_SETTINGS = frozenset(
    {
        "architecture",
        "augment",
        "backbone_learning_rate",
        "batch_norm",
        "batch_size",
        "class_weights",
        "clip_norm",
        "ema",
        "epochs",
        "freeze",
        "label_smoothing",
        "layer_decay",
        "learning_rate",
        "mixup",
        "momentum",
        "optimizer",
        "patience",
        "schedule",
        "views",
        "warmup_epochs",
        "weight_decay",
        "weights",
    }
)

Run = Callable[[TrainingConfig], float]


def candidates(
    config: TrainingConfig, profile: Profile, findings: Iterable[Finding], also: Iterable[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The changes to try: what findings propose, what often helps such a run, and those in `also`; without duplicates.

    Compilation takes so long that it is only tried if requested; pinned memory is only tried with CUDA.

    Example:
        >>> from breedclf.profiling.profile import JobInfo
        >>> run = Profile(job=JobInfo(name="demo", start=0.0, end=1.0, cores={"local": 2}))
        >>> {"feature_cache": True} in candidates(TrainingConfig(data="x", feature_cache=False), run, [])
        True
    """
    cores = sum(profile.job.cores.values())
    found = [dict(finding.changes) for finding in findings if finding.status == "issue" and finding.changes]
    usual: list[dict[str, Any]] = []
    if not config.feature_cache:
        usual.append({"feature_cache": True})
    workers = profile.loader.workers
    if workers is not None:
        usual += [{"workers": count} for count in (0, max(1, cores // 2), cores) if count != workers]
    if config.precision == "fp32":  # auto already chose by hardware
        usual.append({"precision": "bf16"})
    usual.append({"channels_last": not config.channels_last})
    if profile.job.uses_cuda and profile.loader.pin_memory is not None:
        usual.append({"pin_memory": not profile.loader.pin_memory})
    if profile.job.uses_cuda and not (config.dct_scaling or config.decoded_cache):
        usual.append({"device_decoding": not config.device_decoding})
    if profile.loader.batch_size:
        usual.append({"chunk_size": min(4 * config.chunk_size, 4_096)})
    tried: list[dict[str, Any]] = []
    for changes in [*found, *usual, *map(dict, also)]:
        known = {k: v for k, v in changes.items() if k in TrainingConfig.model_fields and getattr(config, k) != v}
        if known and known not in tried:
            tried.append(known)
    return tried


def verify(
    config: TrainingConfig,
    changes: Sequence[dict[str, Any]],
    run: Run,
    *,
    repeats: int = REPEATS,
    is_over: Callable[[], bool] = lambda: False,
) -> Verification:
    """Measure each change against the unchanged run.

    Variants run alternately, in one order and then in reverse, so that drift of the machine affects all of them. A
    first run is a warm-up and isn't counted. The best of several is measured again, since selecting the best
    measurement overestimates it.

    Args:
        config: settings of the unchanged run.
        changes: the settings to change, one variant each.
        run: trains with the given settings and returns seconds.
        repeats: runs per variant.
        is_over: whether the time is over: no run starts any more. Changes that were run fewer times by then, and one
            that wasn't measured again, aren't recommended.
    """
    if not changes:
        return conclude([])
    run(config)
    found = _verified(config, changes, run, repeats, is_over)
    return curtailed(found, changes=len(changes), repeats=repeats) if is_over() else found


def _verified(
    config: TrainingConfig, changes: Sequence[dict[str, Any]], run: Run, repeats: int, is_over: Callable[[], bool]
) -> Verification:
    trials = _trials(config, changes, run, repeats, is_over)
    paid = [trial for trial in trials if trial.kept]
    combined = None
    together: dict[str, Any] = {}
    for trial in sorted(paid, key=lambda trial: -trial.speedup):
        together = {**trial.changes, **together}
    if len(paid) > 1 and together not in [trial.changes for trial in paid]:
        combined = _trials(config, [together], run, repeats, is_over)[0]
    concluded = conclude(trials, combined)
    if len(trials) == 1 or not concluded.recommended or (combined and concluded.recommended == combined.changes):
        return concluded
    return confirm(concluded, _trials(config, [concluded.recommended], run, repeats, is_over)[0])


def _trials(
    config: TrainingConfig, changes: Sequence[dict[str, Any]], run: Run, repeats: int, is_over: Callable[[], bool]
) -> list[Trial]:
    times: list[list[float]] = [[] for _ in range(len(changes) + 1)]
    failures: dict[int, str] = {}
    variants: list[tuple[int, dict[str, Any]]] = list(enumerate([{}, *changes]))
    for repeat in range(repeats):
        for number, change in variants if repeat % 2 == 0 else reversed(variants):
            if number in failures or is_over():
                continue
            try:
                times[number].append(run(config.replace(**change)))
            except BreedclfError as error:
                if number == 0:
                    raise
                failures[number] = str(error)
    return [
        _trial(change, times[0], times[number], repeats, failures.get(number))
        for number, change in enumerate(changes, 1)
    ]


def _trial(change: dict[str, Any], before: list[float], after: list[float], repeats: int, failure: str | None) -> Trial:
    name = ", ".join(f"{key} = {value}" for key, value in change.items())
    if failure is not None or not after or not before:
        note = "not run: the time was over" if failure is None else f"{FAILED}{failure}"
        failed = judge(name, change, before or [1.0], before or [1.0], note)
        unknown = {"after": 0.0, "after_spread": 0.0, "speedup": 0.0, "repeats": len(after), "kept": False}
        return failed.model_copy(update=unknown if before else {**unknown, "before": 0.0})
    trial = judge(name, change, before, after)
    if trial.repeats < repeats:
        note = f"run {trial.repeats} of {repeats} times: the time was over"
        return trial.model_copy(update={"kept": False, "note": note})
    if learned := LEARNING_SETTINGS & change.keys():
        note = f"{', '.join(sorted(learned))} also affects what is learned, so it is not recommended: tune it instead"
        return trial.model_copy(update={"kept": False, "note": note})
    return trial


def images_in_time(
    config: TrainingConfig,
    images: GivenImages | None,
    make_run: Callable[[int], Run],
    *,
    changes: int,
    repeats: int,
    seconds: float,
    most: int,
) -> int | None:
    """How many images of each split runs may train on within about `seconds`, by a short run; None if too few.

    Args:
        config: settings of the unchanged run.
        images: labeled images in place of the folder of `config`.
        make_run: makes a run on this many images of each split, at least one of each class.
        changes: how many are to be verified.
        repeats: runs per variant.
        seconds: for all runs.
        most: the answer isn't above it.
    """
    from breedclf.data.training_data import load_data

    smallest = max(_FEWEST_IMAGES, len(load_data(config, images).labels))
    tried = smallest, _wall_seconds(make_run(smallest), config)
    return images_within(seconds, runs_needed(changes, repeats), tried, most=most)


def _wall_seconds(run: Run, config: TrainingConfig) -> float:
    """The duration of a second run, which has everything loaded."""
    run(config)
    started = time.perf_counter()
    run(config)
    return time.perf_counter() - started


def timed_fit(
    config: TrainingConfig,
    images: GivenImages | None = None,
    *,
    most_images: int = MOST_IMAGES,
    folder: Path | None = None,
) -> Run:
    """Make a `run` for `verify`: trains on a sample of the images, with an empty feature store.

    Each run uses temporary folders of its own, in `folder` or where the system has them.
    """
    from breedclf.data.training_data import load_data
    from breedclf.training.fit import fit
    from breedclf.training.run_cache import RunCache

    cache = RunCache()
    data = load_data(config, images)
    splits = [split.chosen(_some(split, most_images)) for split in (data.train, data.valid)]
    given = None if images is None else {split.name: SplitSource(split, data.labels) for split in splits}

    def run(changed: TrainingConfig) -> float:
        with tempfile.TemporaryDirectory(prefix="breedclf-verify-", dir=folder) as temporary:
            linked = None if given is not None else Path(temporary, "data")
            for split in splits if linked is not None else ():
                _link(split, Path(temporary, "data", split.name))
            own = changed.replace(
                data=linked,
                labels=None,
                output=Path(temporary, "out"),
                feature_store=None,
                cache_dir=Path(temporary, "cache"),
                profile="off",
                resume=False,
            )
            with _quiet():
                return fit(own, given, run_cache=cache).seconds

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Log only warnings: dozens of runs log the same lines."""
    logger = logging.getLogger("breedclf")
    before = logger.level
    logger.setLevel(max(logging.WARNING, before))
    try:
        yield
    finally:
        logger.setLevel(before)


@dataclass(frozen=True)
class SplitSource:
    """A split as labeled images."""

    split: Split
    labels: Sequence[str]

    @property
    def targets(self) -> Sequence[int]:
        return self.split.targets

    def __len__(self) -> int:
        return len(self.split)

    def read(self, index: int) -> ImageLike:
        return self.split.images.read(index)


def _some(split: Split, most: int) -> list[int]:
    """Images spread evenly over the split, including the first of each class."""
    step = max(1, len(split) / most)
    chosen = {int(i * step) for i in range(min(most, len(split)))}
    first = {label: number for number, label in reversed(list(enumerate(split.targets)))}
    return sorted(chosen | set(first.values()))


def _link(split: Split, target: Path) -> None:
    """Link the images of a split into class folders."""
    for number in range(len(split)):
        path = Path(split.images.name(number))
        suffix = path.suffix if is_image_name(path.name) else ".jpg"  # the content counts
        link = target / f"{split.targets[number]:06d}" / f"{number}{suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
