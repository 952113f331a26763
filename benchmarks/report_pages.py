"""Report pages of 10,000 images in 133 classes: seconds to make one from its results, its size, and its load time.

Results are drawn with a seed and go through the library's own types. Photos are generated: a few different JPEGs, hard
links to them under 10,000 names. Each page is made in a process of its own, with the imports that it needs, and without
any pass through a network: the maps come from drawn features. Where there is a Chromium, it loads each page from disk,
and says when it first painted and when the document was complete. Camera photos of 12 megapixels have no goals.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.measuring import at_most, parser_for, report

if TYPE_CHECKING:
    from breedclf.data.split import ImageFiles
    from breedclf.evaluation.maps import ReportMaps
    from breedclf.evaluation.metrics import Evaluation
    from breedclf.inference.model_directory import ModelCard

IMAGES, CLASSES = 10_000, 133
PHOTO, CAMERA_PHOTO = (500, 400), (4_000, 3_000)
DIFFERENT = 24
SUSPECTS, GROUPS, OUTLIERS, PROBLEMS = 1_000, 500, 200, 5_000
MOST_SECONDS, MOST_MEGABYTES = 2.0, 5.0
LABELS = tuple(f"{number:03d}.Breed_number_{number}" for number in range(CLASSES))


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="repeats (default: 3)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the pages in this folder")
    given = parser.parse_args()
    goals, found = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        place = given.keep or Path(temporary, "pages")
        for side in (PHOTO,) if given.quick else (PHOTO, CAMERA_PHOTO):
            name = f"{side[0]} x {side[1]}"
            images, pages = draw(Path(temporary, name), side), place / name
            pages.mkdir(parents=True, exist_ok=True)
            repeats = 1 if given.quick else given.repeats
            found[name] = {page: made(page, images, pages, repeats) for page in PAGES}
            if not given.quick:
                in_browser(found[name], pages)
            if side == PHOTO:
                goals = [goal for page, each in found[name].items() for goal in goals_of(page, each)]
    return report("report_pages", goals, {"images": IMAGES, "classes": CLASSES, "pages": found}, given)


def goals_of(page: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        at_most(f"seconds to make the page {page!r} of {IMAGES:,} images", min(found["seconds"]), MOST_SECONDS),
        at_most(f"megabytes of the page {page!r}", found["bytes"] / 1e6, MOST_MEGABYTES),
    ]


def draw(folder: Path, size: tuple[int, int]) -> Path:
    """Create the files: a few different JPEGs with edges and grain, under many names."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(DIFFERENT):
        rough = Image.fromarray(random.integers(0, 256, (size[1] // 20, size[0] // 20, 3), dtype=np.uint8))
        pixels = np.asarray(rough.resize(size, Image.Resampling.BICUBIC), np.int16)
        grain = random.integers(-8, 9, (size[1], size[0], 1), dtype=np.int16)
        photo = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
        photo.save(folder / f"{number}.jpg", quality=90)
    for number in range(IMAGES):
        path = folder / "test" / LABELS[number % CLASSES] / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(folder / f"{number % DIFFERENT}.jpg", path)
    return folder


def made(page: str, images: Path, pages: Path, repeats: int) -> dict[str, Any]:
    """Make one page several times, each in a process of its own."""
    code = "import sys; from benchmarks.report_pages import one_page; one_page(*sys.argv[1:])"
    words = [sys.executable, "-c", code, page, str(images), str(pages / f"{page}.html")]
    runs = [
        json.loads(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
        for _ in range(repeats)
    ]
    seconds, cpu = ([run[what] for run in runs] for what in ("seconds", "cpu_seconds"))
    size = runs[0]["bytes"]
    print(f"  {page}: {min(seconds):.2f} s, CPU {min(cpu):.2f} s, {size / 1e6:.2f} MB", file=sys.stderr, flush=True)
    return {"seconds": seconds, "cpu_seconds": cpu, "bytes": size}


def one_page(page: str, images: str, written: str) -> None:
    """Make a page and print how long it took: the results are there before the time starts."""
    make = PAGES[page](Path(images))
    started, cpu = time.perf_counter(), time.process_time()
    text = make()
    Path(written).write_text(text, encoding="utf-8")
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "bytes": len(text.encode())}))


def files_of(folder: Path) -> ImageFiles:
    from breedclf.data.split import ImageFiles

    return ImageFiles([folder / "test" / LABELS[number % CLASSES] / f"{number:05}.jpg" for number in range(IMAGES)])


def results() -> tuple[Evaluation, ModelCard]:
    """An evaluation with all that can be measured, and the card of its model."""
    from breedclf.data.preprocessing import Preprocessing
    from breedclf.evaluation.metrics import measure
    from breedclf.evaluation.reliability import calibration_result, coverage_result
    from breedclf.evaluation.unknown import refused, unlike
    from breedclf.inference.calibration import Calibration
    from breedclf.inference.feature_bank import BankRecord
    from breedclf.inference.model_directory import ModelCard

    random, targets = np.random.default_rng(0), np.arange(IMAGES) % CLASSES
    scores = 2 * random.standard_normal((IMAGES, CLASSES))
    scores[np.arange(IMAGES), targets] += 6
    rows = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    near, far = (random.random(IMAGES) + shift for shift in (0.0, 0.3))
    names = [f"test/{LABELS[target]}/{number:05}.jpg" for number, target in enumerate(targets)]
    result = measure(rows, targets, LABELS, names, split="test", skipped=[f"{name}: it is empty" for name in names])
    parts = {
        "known_share": float((near <= 0.9).mean()),
        "refused": refused(near, rows, 0.9, None, LABELS, names),
        "unlike": unlike(near, far, rows, 0.9, None, LABELS, names),
        "calibration": calibration_result(rows, targets, 1.2, result.loss * 1.1, result.loss),
        "coverage": coverage_result(rows, targets, 0.9, 0.8),
    }
    bank = BankRecord(
        sha256="0" * 64, images=IMAGES, neighbor=5, threshold=0.9, kept_share=0.95, limited_on="valid",
        limited_on_images=IMAGES,
    )  # fmt: skip
    card = ModelCard(
        architecture="resnet50", preprocessing=Preprocessing(), labels=LABELS, class_names=LABELS,
        weights_sha256="0" * 64, feature_bank=bank,
        calibration=Calibration(temperature=1.2, nll_before=0.9, nll_after=0.8, images=IMAGES, source="valid"),
    )  # fmt: skip
    return result.model_copy(update=parts), card


def evaluation(folder: Path) -> Callable[[], str]:
    return evaluated(folder, with_maps=False)


def maps(folder: Path) -> Callable[[], str]:
    return evaluated(folder, with_maps=True)


def evaluated(folder: Path, *, with_maps: bool) -> Callable[[], str]:
    """Makes the report of an evaluation, with thumbnails, and maps from drawn features if asked to."""
    images, (result, card) = files_of(folder), results()
    from breedclf.evaluation.report import Provenance, evaluation_page
    from breedclf.evaluation.thumbnails import Thumbnails

    def page() -> str:
        thumbnails = Thumbnails(images, folder)
        assert result.refused is not None
        assert result.unlike is not None
        worst = [thumbnails.position(one.path) for one in result.worst]
        return evaluation_page(
            result,
            Provenance("runs/model", str(folder), card, "cpu", "fp32"),
            thumbnails=thumbnails.of([one.path for one in result.worst]),
            refused=thumbnails.of([one.path for one in result.refused.farthest]),
            let_through=thumbnails.of([one.path for one in result.unlike.nearest]),
            maps=drawn_maps(images, worst, card) if with_maps else None,
        )

    return page


def drawn_maps(images: ImageFiles, worst: list[int], card: ModelCard) -> ReportMaps:
    """The maps of the worst images as `report_maps` makes them, of drawn features in place of a network's."""
    import torch

    from breedclf.data.images import pillow_image
    from breedclf.evaluation.maps import BorderEvidence, ReportMaps, WorstMap
    from breedclf.explanations.classes import ClassNames
    from breedclf.explanations.evidence import ExactEvidence
    from breedclf.explanations.explanation import Explanation
    from breedclf.explanations.readout import Readout
    from breedclf.inference.prediction import Prediction, RankedClass

    random, names = torch.Generator().manual_seed(0), ClassNames(card.labels, card.class_names)
    readout = Readout(None, "NCHW", (7, 7), ())  # type: ignore[arg-type] - the node is only the network's
    weight, bias = torch.randn(CLASSES, 512, generator=random), torch.zeros(CLASSES)

    def explained(row: int) -> Explanation:
        value = torch.randn(512, 7, 7, generator=random)
        crop = card.preprocessing.view(pillow_image(images.read(row), images.name(row)), 0)
        evidence = ExactEvidence(readout, weight, bias, value)
        answer = Prediction((RankedClass(LABELS[0], LABELS[0], 1.0),))
        return Explanation.of_class(0, evidence.maps([0])[0], evidence, names, crop, answer)

    found = [explained(row) for row in worst]
    pairs = tuple(WorstMap(each.jpeg(), each.difference(LABELS[1]).jpeg()) for each in found)
    shares = tuple(explained(row).border_share for row in range(24))
    return ReportMaps(pairs, found[0].method, is_exact=True, border=BorderEvidence(shares))


def review(folder: Path) -> Callable[[], str]:
    """Makes the report of a review of labels."""
    from breedclf.data.split import Split
    from breedclf.features.stored_pass import FeatureCounts
    from breedclf.label_review.images import ReviewedImages
    from breedclf.label_review.page import review_page
    from breedclf.label_review.result import NearDuplicates, Neighbor, Outlier, Review, Suspect

    random, files = np.random.default_rng(0), files_of(folder)
    split = Split("all splits", files, tuple(number % CLASSES for number in range(IMAGES)))
    features = np.zeros((IMAGES, 1), np.float32)
    images = ReviewedImages(
        LABELS, split, ["test"] * IMAGES, features, [""] * IMAGES, [], FeatureCounts(0, IMAGES), folder
    )
    rows = iter(random.permutation(IMAGES).tolist())

    def suspect() -> Suspect:
        row, others = next(rows), random.integers(0, IMAGES, 3).tolist()
        near = [Neighbor(images.path(other), LABELS[other % CLASSES], 0.9, other) for other in others]
        return Suspect(images.path(row), "test", LABELS[row % CLASSES], LABELS[0], 0.8, 0.1, near, row)

    def group() -> NearDuplicates:
        some = [next(rows) for _ in range(6)]
        return NearDuplicates([images.path(row) for row in some], ["test"] * 6, [LABELS[0]] * 6, 0.99, True, some)

    def outlier() -> Outlier:
        row = next(rows)
        return Outlier(images.path(row), "test", LABELS[row % CLASSES], 0.7, 0.6, row)

    found = Review(
        suspects=[suspect() for _ in range(SUSPECTS)], near_duplicates=[group() for _ in range(GROUPS)],
        outliers=[outlier() for _ in range(OUTLIERS)], refused=None, accuracy=0.9, error_rate=0.05,
        expected_precision=0.8, precision_at={5: 0.8, 10: 0.8, 20: 0.8}, near_duplicates_from=0.97, twin_effect=None,
        count=IMAGES, not_judged=0, skipped=[], images=images,
    )  # fmt: skip
    return lambda: review_page(found)


def comparison(folder: Path) -> Callable[[], str]:
    """Makes the report of two models on the same images, one in five of which only one predicts correctly."""
    from breedclf.model_store.comparison import ComparedImages, compared
    from breedclf.model_store.comparison_report import comparison_page

    random, targets = np.random.default_rng(0), np.arange(IMAGES) % CLASSES
    first, second = (
        np.where(random.random(IMAGES) < share, targets, random.integers(0, CLASSES, IMAGES)) for share in (0.9, 0.92)
    )
    sources = ComparedImages((Path("a"), Path("b")), dict(zip(LABELS, LABELS, strict=True)), files_of(folder), folder)
    names = [f"test/{LABELS[target]}/{number:05}.jpg" for number, target in enumerate(targets)]
    found = compared(("a", "b"), LABELS, targets, first, second, names.__getitem__, sources=sources)
    return lambda: comparison_page(found, explain=False)


def check(folder: Path) -> Callable[[], str]:
    """Makes the text and the JSON of a check of the data, which has no page of its own, with many problems."""
    from breedclf.data_check.result import DatasetCheck, Problem, Range
    from breedclf.data_check.text import as_text

    some = Range(smallest=PHOTO[1], median=PHOTO[1], largest=PHOTO[0])
    problems = [
        Problem(kind="duplicate", path=f"test/{LABELS[number % CLASSES]}/{number:05}.jpg", detail="the same as another")
        for number in range(PROBLEMS)
    ]
    found = DatasetCheck(
        folder=str(folder), problems=problems, notes=[], splits={"test": IMAGES},
        classes={"test": dict.fromkeys(LABELS, IMAGES // CLASSES)}, images=IMAGES, readable=IMAGES, cached=IMAGES,
        formats={"JPEG": IMAGES}, modes={"RGB": IMAGES}, orientations={"1": IMAGES}, animated=0, converted=0,
        width_px=some, height_px=some, file_bytes=some, seconds=1.0,
    )  # fmt: skip
    return lambda: f"<pre>{as_text(found)}\n{json.dumps(found.to_dict(), indent=2)}</pre>"


PAGES = {"evaluation": evaluation, "maps": maps, "review": review, "comparison": comparison, "check": check}


def in_browser(found: dict[str, Any], pages: Path) -> None:
    """Add the milliseconds until the first paint and until the document is complete, the quickest of three loads."""
    from tests.browser import browser, find_chromium

    program = find_chromium()
    if program is None:
        return
    with browser(program) as page:
        for name, each in found.items():
            each |= {what: [] for what in TIMES_MS}
            for _ in range(3):
                page.open("about:blank")
                page.open((pages / f"{name}.html").absolute().as_uri())
                page.until(f"{TIMES_MS['first_paint_ms']} > 0")
                for what, script in TIMES_MS.items():
                    each[what].append(page.run(script))
            print(f"  {name}: " + ", ".join(f"{what} {min(each[what]):.0f}" for what in TIMES_MS), file=sys.stderr)


TIMES_MS = {
    "first_paint_ms": "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0",
    "complete_ms": "performance.getEntriesByType('navigation')[0].domComplete",
}


if __name__ == "__main__":
    sys.exit(main())
