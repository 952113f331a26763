"""What answers are worth: images of no class, near classes, probabilities, explanations, and their costs.

Features are stored; `--cache-dir` keeps them for the next run.
"""

from __future__ import annotations

import csv
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.folds import fold_tables
from benchmarks.measuring import (
    BACKBONES,
    DATA,
    WEIGHTS,
    at_least,
    at_most,
    interleaved,
    parser_for,
    quickest_precision,
    ratios,
    report,
)
from breedclf import Classifier, Prediction, Trainer, TrainingConfig, evaluate
from breedclf.config.evaluation import PredictionConfig
from breedclf.evaluation.unknown import auroc
from breedclf.explanations.explainer import Explainer
from breedclf.inference.batches import batches
from breedclf.inference.feature_bank import BANK_FILE, FeatureBank
from breedclf.inference.scoring import Scoring
from breedclf.training.results.bank import Images, limited_bank

KEPT = 0.95
CHOSEN = ("resnet50", "timm:tf_efficientnet_lite2")
SETS = ("hymenoptera", "dog-groups", "dog-breeds-tiny", "pets-dogs25", "cub100")
PAIRS = (("hymenoptera", "dog-groups"), ("dog-groups", "hymenoptera"))
SEEDS = range(3)
BREEDS, PER_CLASS = 133, 50
Measured = tuple[list[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Setup:
    """Where a run of the benchmark stores features and models, and what it measures with."""

    folder: Path
    cache: Path
    backbones: Sequence[str]
    sets: Sequence[str]
    repeats: int

    def trained(self, data: Path, architecture: str = "resnet50", **settings: Any) -> Path:
        """A model directory of a run with defaults except for these settings."""
        own = {"weights": str(BACKBONES[architecture]), "cache_dir": self.cache, "checkpoints": False}
        output = Path(tempfile.mkdtemp(dir=self.folder))
        config = TrainingConfig(data=data, architecture=architecture, output=output, **{**own, **settings})
        return Trainer(config).fit().artifact


def images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def separation(known: Sequence[float], unlike: Sequence[float], limit: float) -> dict[str, float]:
    """How well values tell images apart, of which those above `limit` are answered as none of the classes."""
    kept, let_through = (sum(each <= limit for each in values) / len(values) for values in (known, unlike))
    return {"auroc": auroc(np.array(known), np.array(unlike)), "let through": let_through, "kept": kept}


def by_distance_and_confidence(
    setup: Setup, model: Path, valid: Sequence[Path], known: Sequence[Path], unlike: Sequence[Path]
) -> dict[str, Any]:
    """By the distance with the model's threshold, and by the best probability with one that keeps 95% of valid."""
    scoring = Scoring.read(model, PredictionConfig(cache_dir=setup.cache))
    record = scoring.model.card.feature_bank
    assert record is not None

    def predicted(files: Sequence[Path]) -> list[Prediction]:
        return [each for each in scoring.predictions_of_files(list(map(str, files))) if isinstance(each, Prediction)]

    inside, outside = predicted(known), predicted(unlike)
    doubts, far_doubts, limits = (
        [1 - each.best.probability for each in found] for found in (inside, outside, predicted(valid))
    )
    limit = float(torch.quantile(torch.tensor(limits).double(), KEPT, interpolation="higher"))
    distances, far_distances = ([each.distance or 0.0 for each in found] for found in (inside, outside))
    return {
        "distance": separation(distances, far_distances, record.threshold),
        "min_confidence": separation(doubts, far_doubts, limit),
        "of": {"known": len(inside), "unlike": len(outside)},
        "threshold": record.threshold,
        "set on": f"{record.limited_on_images} images of {record.limited_on}",
    }


def far_classes(setup: Setup) -> Measured:
    """Dogs against insects, both ways: the test images of one dataset against all of the other."""
    goals, details = [], {}
    for architecture in setup.backbones:
        for inside, outside in PAIRS:
            data = DATA / inside
            model = setup.trained(data, architecture)
            known, unlike = images(data / "test"), images(DATA / outside)
            found = by_distance_and_confidence(setup, model, images(data / "valid"), known, unlike)
            what = f"{outside} against {inside}, {architecture}"
            details[what] = found
            goals += [
                at_least(f"{what}: AUROC", found["distance"]["auroc"], 0.97),
                at_most(f"{what}: share let through", found["distance"]["let through"], 0.12),
                at_least(f"{what}: share kept", found["distance"]["kept"], 0.88),
            ]
            print(what, found, file=sys.stderr, flush=True)
    return goals, details


def folds(setup: Setup) -> Measured:
    """Insects against dogs in five folds: each of the 113 dogs is a test image of one."""
    goals, details = [], {}
    unlike = images(DATA / "hymenoptera")
    for architecture in setup.backbones:
        found = []
        for table in fold_tables(DATA / "dog-groups", setup.folder / "folds", folds=5, seed=0):
            model = setup.trained(table, architecture)
            found.append(
                by_distance_and_confidence(setup, model, *(_of_split(table, s) for s in ("valid", "test")), unlike)
            )
        known = sum(each["of"]["known"] for each in found)
        kept = sum(each["distance"]["kept"] * each["of"]["known"] for each in found) / known
        let_through = statistics.mean(each["distance"]["let through"] for each in found)
        what = f"hymenoptera against dog-groups in folds, {architecture}"
        details[what] = {"kept": kept, "of": known, "let through": let_through, "folds": found}
        goals += [
            at_most(f"{what}: share let through", let_through, 0.12),
            at_least(f"{what}: share kept", kept, 0.88),
        ]
        print(what, kept, let_through, file=sys.stderr, flush=True)
    return goals, details


def near_classes(setup: Setup) -> Measured:
    """Each class of dog-groups held out in turn: its images against test images of the others. There is no goal."""
    data, details = DATA / "dog-groups", dict[str, Any]()
    for architecture in setup.backbones:
        found = {}
        for held_out in sorted(path.name for path in (data / "train").iterdir()):
            table = _without(data, held_out, setup.folder / f"{held_out}.csv")
            model = setup.trained(table, architecture)
            valid, known = (
                [path for path in images(data / split) if path.parent.name != held_out] for split in ("valid", "test")
            )
            unlike = [path for path in images(data) if path.parent.name == held_out]
            found[held_out] = by_distance_and_confidence(setup, model, valid, known, unlike)
        means = {
            measure: {
                each: statistics.mean(one[measure][each] for one in found.values())
                for each in ("auroc", "let through", "kept")
            }
            for measure in ("distance", "min_confidence")
        }
        details[f"a class of dog-groups held out, {architecture}"] = {"mean": means, "by class": found}
        print("held out", architecture, means, file=sys.stderr, flush=True)
    return [], details


def probabilities(setup: Setup) -> Measured:
    """Test loss (NLL) with and without calibration; its mean over datasets and backbones must be lower."""
    details, changes = dict[str, Any](), []
    goals = []
    for architecture in setup.backbones:
        for name in setup.sets:
            runs = []
            for seed in SEEDS:
                losses = []
                for calibration in (False, True):
                    model = setup.trained(DATA / name, architecture, seed=seed, calibration=calibration)
                    losses.append(evaluate(model, DATA / name, cache_dir=setup.cache).loss)
                card = Classifier(model).card.calibration
                runs.append({"before": losses[0], "after": losses[1], "temperature": card.temperature if card else 1.0})
            change = statistics.mean(run["after"] - run["before"] for run in runs)
            changes.append(change)
            details[f"{name}, {architecture}"] = runs
            goals.append(at_most(f"{name}, {architecture}: change of test NLL, mean of {len(runs)} seeds", change, 0))
            print(name, architecture, runs, file=sys.stderr, flush=True)
    return [*goals, at_most("mean change of test NLL", statistics.mean(changes), 0)], details


def size(setup: Setup) -> Measured:
    """Bytes of the bank of a ResNet-50 with 133 classes and 50 images of each, as training writes it and with all D."""
    draw = torch.Generator().manual_seed(0)
    targets = torch.arange(BREEDS).repeat_interleave(PER_CLASS)
    centers = torch.randn(BREEDS, 2048, generator=draw).abs()
    features = centers[targets] + torch.randn(len(targets), 2048, generator=draw).abs()
    rows = torch.arange(0, len(targets), PER_CLASS // 4)
    chosen = limited_bank(Images(features, targets), Images(features[rows], targets[rows]))
    assert chosen is not None
    mb = {}
    for name, bank in {"as written": chosen.bank, "all features": FeatureBank(features.half(), 5)}.items():
        folder = setup.folder / name
        folder.mkdir()
        bank.save(folder)
        mb[name] = (folder / BANK_FILE).stat().st_size / 1e6
    what = f"MB of a bank of {BREEDS} classes of a ResNet-50"
    return [
        at_most(f"{what}, as training writes it", mb["as written"], 3),
        at_most(f"{what}, with all features", mb["all features"], 30),
    ], {"MB": mb}


def explanations(setup: Setup) -> Measured:
    """An explained prediction against a prediction, of 32 crops at a time, without drawing; and how exact maps are."""
    model = setup.trained(DATA / "hymenoptera", epochs=1)
    files = images(DATA / "hymenoptera" / "test")[:32]
    goals, details = [], dict[str, Any]()
    for precision, tolerance in (("fp32", 1e-4), ("bf16", 1e-3)):
        classifier = Classifier(model, precision=precision)
        explainer = Explainer(classifier)
        crops = torch.cat([batch.crops for batch in batches(files, classifier.preprocessing, len(files))])
        found = explainer.explanations(crops)
        apart = max(abs(float(each.values.sum()) + each.bias - each.score) for each in found)
        goals.append(at_most(f"{precision}: map and bias against the score, largest difference", apart, tolerance))
        if precision != quickest_precision():
            continue
        works = {
            "predict": lambda classifier=classifier, crops=crops: classifier.predictions_of_inputs(crops),
            "explain": lambda explainer=explainer, crops=crops: explainer.explanations(crops),
        }
        for work in works.values():
            work()
        seconds = interleaved(works, setup.repeats)
        ratio = ratios(seconds["explain"]["cpu"], seconds["predict"]["cpu"])
        goals.append(at_most("CPU time of an explained prediction over one that isn't", ratio["median"], 1.05))
        details |= {"seconds": seconds, "ratio": ratio}
    return goals, details


def first_prediction(setup: Setup) -> Measured:
    """`breedclf predict` with a feature bank against the same model without one, in new processes."""
    model = setup.trained(DATA / "hymenoptera", epochs=1)
    without = setup.folder / "without" / "model"
    shutil.copytree(model, without)
    (without / BANK_FILE).unlink()
    card = json.loads((without / "breedclf.json").read_text())
    del card["feature_bank"]
    (without / "breedclf.json").write_text(json.dumps(card))
    image = images(DATA / "hymenoptera" / "test")[0]

    def predict(folder: Path) -> Callable[[], object]:
        command = [sys.executable, "-m", "breedclf", "predict", str(folder), str(image)]
        return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    works = {"without bank": predict(without), "with bank": predict(model)}
    for work in works.values():
        work()
    seconds = interleaved(works, setup.repeats)
    ratio = ratios(seconds["with bank"]["wall"], seconds["without bank"]["wall"])
    return [at_most("first prediction with a bank over without one", ratio["median"], 1.05)], {
        "seconds": seconds,
        "ratio": ratio,
    }


def _of_split(table: Path, split: str) -> list[Path]:
    with table.open(encoding="utf-8", newline="") as file:
        return [Path(row["path"]) for row in csv.DictReader(file) if row["split"] == split]


def _without(data: Path, held_out: str, file: Path) -> Path:
    """A table of the training and validation images of all classes but one."""
    with file.open("w", encoding="utf-8", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(["path", "label", "split"])
        for split in ("train", "valid"):
            for path in images(data / split):
                if path.parent.name != held_out:
                    rows.writerow((path.resolve(), path.parent.name, split))
    return file


PARTS: dict[str, Callable[[Setup], Measured]] = {
    "far": far_classes,
    "folds": folds,
    "near": near_classes,
    "probabilities": probabilities,
    "size": size,
    "explanations": explanations,
    "first-prediction": first_prediction,
}


def main() -> int:
    parser = parser_for(__doc__, quick={"repeats": 2, "backbones": CHOSEN[:1]})
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run (default: all)")
    parser.add_argument(
        "--backbones", nargs="+", choices=CHOSEN, default=list(CHOSEN), help="networks to measure (default: all)"
    )
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="datasets of `probabilities`")
    parser.add_argument("--repeats", type=int, default=9, help="repeats of what is timed (default: 9)")
    parser.add_argument("--cache-dir", type=Path, help="folder of the stored features (default: a temporary one)")
    given = parser.parse_args()
    if not WEIGHTS.is_file():
        parser.exit(0, f"skipped: no photos and weights in {DATA}; set BREEDCLF_TEST_DATA\n")
    goals, details = [], dict[str, Any]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        setup = Setup(folder, given.cache_dir or folder / "cache", given.backbones, given.sets, given.repeats)
        for part in given.only:
            found, about = PARTS[part](setup)
            goals += found
            details[part] = about
    return report("trust", goals, details, given)


if __name__ == "__main__":
    sys.exit(main())
