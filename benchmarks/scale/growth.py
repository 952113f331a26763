"""Datasets that grow or stay: one more image among thousands, and runs on files that haven't changed."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import at_least, at_most, ratios
from benchmarks.scale.images import write_image, write_images
from benchmarks.scale.runs import Run, Setup, train
from breedclf.data.split import ImageFiles
from breedclf.features.digests import digests_of
from breedclf.features.store.feature_set import FeatureSet
from breedclf.features.store.spec import FeatureSpec
from breedclf.features.store.store import FOLDER

Part = tuple[list[dict[str, Any]], dict[str, Any]]


def one_more(setup: Setup) -> Part:
    """One more image among 6,000, compared with a run on the same images again."""
    count = setup.images(6_000, 120)
    valid = count // 10
    data = write_images(setup.folder / "growing", {"train": count - valid, "valid": valid})
    cold = train(setup, data, "cold")
    train(setup, data, "warm-up")
    grown, warm = [], []
    for repeat in range(setup.repeats):
        write_image(data / "train", count + repeat)
        grown.append(train(setup, data, "one-more"))
        warm.append(train(setup, data, "again"))
    shutil.rmtree(data)
    cost = {
        name: ratios([of(run) for run in grown], [of(run) for run in warm])
        for name, of in (("wall", _wall), ("cpu", _cpu), ("without imports", _seconds))
    }
    goals = [
        at_most(f"one more image among {count:,}: images computed", max(run.computed for run in grown), 1),
        at_least(f"one more image among {count:,}: images computed, at least", min(run.computed for run in grown), 1),
        at_most(f"one more image among {count:,}: time over a run on unchanged images", cost["wall"]["median"], 1.15),
    ]
    seconds = {"cold": [cold.wall], "one more": [run.wall for run in grown], "unchanged": [run.wall for run in warm]}
    return goals, {"images": count, "seconds": seconds, "ratios": cost}


def unchanged(setup: Setup) -> Part:
    """Runs on 20,000 unchanged files and on 200; the features of the many are random, as nothing depends on them."""
    counts = setup.images(20_000, 400), setup.images(200, 40)
    folders = []
    for count in counts:
        valid = count // 10
        folders.append(write_images(setup.folder / f"images-{count}", {"train": count - valid, "valid": valid}))
    train(setup, folders[1], "cold", cache="unchanged-cache")
    add_features(setup.folder / "unchanged-cache", folders[0])
    runs: dict[int, list[Run]] = {count: [] for count in counts}
    for repeat in range(setup.repeats + 1):
        for count, data in zip(counts, folders, strict=True):
            run = train(setup, data, f"warm-{count}", cache="unchanged-cache")
            assert run.computed == 0
            if repeat:
                runs[count].append(run)
    for data in folders:
        shutil.rmtree(data)
    many, few = counts
    more = {
        name: [of(above) - of(below) for above, below in zip(runs[many], runs[few], strict=True)]
        for name, of in (("seconds", _seconds), ("wall", _wall), ("cpu", _cpu))
    }
    what = f"seconds of a run on {many:,} unchanged files, more than on {few:,}"
    details = {"seconds": {count: [_seconds(run) for run in each] for count, each in runs.items()}, "differences": more}
    return [at_most(what, statistics.median(more["seconds"]), 1.0)], details


def add_features(cache: Path, data: Path) -> None:
    """Add random features of all images of a folder to the set that a run made."""
    (found,) = (cache / FOLDER).glob("*/set.json")
    about = json.loads(found.read_bytes())
    images = ImageFiles(sorted(data.rglob("*.jpg")))
    digests = np.unique(digests_of(images).values, axis=0)
    with FeatureSet(found.parent, FeatureSpec(**about["spec"])) as features:
        values = torch.rand(len(digests), *about["shape"], generator=torch.Generator().manual_seed(0))
        features.append(digests, values.to(getattr(torch, about["dtype"])))


def _seconds(run: Run) -> float:
    """Without imports."""
    return float(run.document["seconds"])


def _wall(run: Run) -> float:
    return run.wall


def _cpu(run: Run) -> float:
    return run.cpu
