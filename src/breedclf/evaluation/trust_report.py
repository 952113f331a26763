"""The sections of the report on how far answers can be trusted: "none of these", calibration, prediction sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from breedclf.evaluation.metrics import Evaluation
from breedclf.evaluation.reliability import FEWEST_IMAGES, CalibrationResult, CoverageResult
from breedclf.evaluation.unknown import Answered, Refused, Unlike
from breedclf.inference.feature_bank import BankRecord
from breedclf.inference.model_directory import ModelCard
from breedclf.reporting import Section
from breedclf.reporting.blocks import Column, GalleryImage, Tile, bullets, callout, gallery, table, tiles
from breedclf.reporting.charts import Bar, Reference, Series, bar_chart, line_chart
from breedclf.reporting.formats import percent, plain, whole

_NEAR_CLASSES = (
    "Classes that look like those of the model, such as another species of the same family, can't be separated by this"
)
_SIZES_SHOWN = 10


def none_of_these(
    result: Evaluation, card: ModelCard, refused: Sequence[bytes], let_through: Sequence[bytes]
) -> Section:
    """The images that are answered "none of these", and how many unlike images are; with a small JPEG of examples."""
    bank, found = card.feature_bank, result.refused
    if bank is None or found is None:
        text = (
            "This model has no feature bank: it is from an older version, or was trained with feature_bank=False or on "
            "too few images. It assigns one of its classes to any image"
            + (", unless the probability is below min_confidence." if card.min_confidence else ".")
        )
        return Section("None of these", [text])
    blocks: list[Markup | str] = [tiles(_tiles(result, bank)), bullets(_reasons(result, found, card))]
    if result.unlike is not None:
        blocks += _unlike(result, result.unlike, bank)
    if found.farthest:
        blocks.append(Markup("<h3>Test images that were refused, the farthest first</h3>"))
        blocks.append(gallery(_examples(result, found.farthest, refused)))
    if result.unlike is not None and result.unlike.nearest:
        blocks.append(Markup("<h3>Unlike images that were answered with a class, the nearest first</h3>"))
        blocks.append(gallery(_examples(result, result.unlike.nearest, let_through)))
    lead = (
        f"An image whose distance to the training images is above {bank.threshold:.3f} is answered “none of these”. "
        "The distance is 1 minus the cosine similarity of features, from 0 to 2."
    )
    return Section("None of these", blocks, lead=lead)


def calibration(result: Evaluation, card: ModelCard) -> Section:
    """Negative log-likelihood before and after, and the reliability diagram if there are enough images."""
    found = result.calibration
    if found is None:
        return Section("Calibration", ["Calibration wasn't measured."])
    blocks: list[Markup | str] = [tiles(_calibration_tiles(result, found)), _fitted(card)]
    if found.ece is None:
        blocks.append(
            f"The expected calibration error and the reliability diagram need {FEWEST_IMAGES} images, since each of "
            f"their bins needs some; there are {whole(result.count)}."
        )
    else:
        blocks += _reliability(found)
    lead = (
        "Probabilities are calibrated if, of the images with a best probability of 80%, 80% are correct. The negative "
        "log-likelihood (NLL) is lower for better probabilities."
    )
    return Section("Calibration", blocks, lead=lead)


def prediction_sets(result: Evaluation) -> Section:
    """How often prediction sets contain the right class, and how large they are."""
    found = result.coverage
    if found is None:
        text = (
            "Not measured. With --coverage 0.9, the report says how often the sets of classes that --coverage 0.9 of "
            "breedclf predict gives contain the right class, and how large they are."
        )
        return Section("Prediction sets", [text])
    return Section("Prediction sets", [tiles(_coverage_tiles(result, found)), _sizes(found), _holds(found)])


def _tiles(result: Evaluation, bank: BankRecord) -> Iterator[Tile]:
    yield Tile("Kept", percent(result.known_share or 0.0), f"of the {result.split} images are answered with a class")
    yield Tile(
        "Threshold",
        f"{bank.threshold:.3f}",
        f"keeps {percent(bank.kept_share)} of {whole(bank.limited_on_images)} images ({bank.limited_on})",
    )
    if result.unlike is not None:
        low, high = result.unlike.let_through_interval
        yield Tile(
            "Let through",
            percent(result.unlike.let_through),
            f"of {whole(result.unlike.count)} unlike images; 95% interval {percent(low)} – {percent(high)}",
        )
        yield Tile("AUROC", f"{result.unlike.auroc:.3f}", "1 separates them by distance perfectly, 0.5 not at all")


def _reasons(result: Evaluation, found: Refused, card: ModelCard) -> Iterator[Markup | str]:
    refused = f"{whole(found.count)} of {whole(result.count)} {result.split} images"
    if card.min_confidence is None:
        yield f"{refused} are refused by their distance; the model has no min_confidence."
    else:
        yield (
            f"{refused} are refused: {whole(found.by_distance)} by their distance and {whole(found.by_confidence)} "
            f"by a best probability below min_confidence ({percent(card.min_confidence)}), of which "
            f"{whole(found.by_both)} by both."
        )
    near = None if card.feature_bank is None else card.feature_bank.near_auroc
    measured = "" if near is None else f": for one of its own classes, left out of the bank, the AUROC is {near:.3f}"
    yield f"{_NEAR_CLASSES}{measured}."
    if result.unlike is None:
        yield "--unlike DIR measures how many images of a folder, which are none of the classes, get a class anyway."
    elif result.unlike.shared:
        yield Markup("<strong>{}</strong>").format(
            f"{whole(result.unlike.shared)} of the unlike images are among the {result.split} images, too; they make "
            "these metrics worse than they are."
        )
    if result.unlike is not None and result.unlike.skipped:
        skipped = result.unlike.skipped
        yield f"Unlike images that can't be read, and are left out: {whole(len(skipped))}; the first: {skipped[0]}"


def _unlike(result: Evaluation, unlike: Unlike, bank: BankRecord) -> list[Markup | str]:
    thresholds = [point.threshold for point in unlike.curve]
    kept, through = [point.kept for point in unlike.curve], [point.let_through for point in unlike.curve]
    name = f"{result.split} images kept"
    by_threshold = line_chart(
        "Answered with a class, by threshold",
        [Series(name, thresholds, kept), Series("unlike images let through", thresholds, through)],
        x_label="largest distance of known images", y_label="share answered", y_format=percent, from_zero=True,
        references=[Reference(bank.threshold, "")],
        note="The dashed line is the model's threshold; a good one is where the first line is high and the second low.",
    )  # fmt: skip
    roc = line_chart(
        "Kept against let through",
        [Series(name, [0.0, *through], [0.0, *kept])],
        x_label="unlike images let through", y_label=name, x_format=percent, y_format=percent, from_zero=True,
        note="The closer to the upper left corner, the better; the area below is the AUROC.",
    )  # fmt: skip
    return [by_threshold, roc]


def _examples(result: Evaluation, images: Sequence[Answered], jpegs: Sequence[bytes]) -> Iterator[GalleryImage]:
    shown = dict(zip(result.labels, result.class_names, strict=True))
    for image, jpeg in zip(images, jpegs, strict=True):
        nearest = shown[image.predicted]
        yield GalleryImage(
            jpeg,
            f"nearest class {nearest}: {image.path}",
            [f"distance {image.distance:.3f}", f"nearest: {nearest} ({percent(image.probability)})", image.path],
        )


def _calibration_tiles(result: Evaluation, found: CalibrationResult) -> Iterator[Tile]:
    worse = found.nll_after > found.nll_before
    yield Tile("NLL before", plain(found.nll_before), f"{whole(result.count)} {result.split} images")
    note = "higher than before on these images" if worse else "with the temperature; lower is better"
    yield Tile("NLL after", plain(found.nll_after), note, "issue" if worse else None)
    yield Tile("Temperature", plain(found.temperature), "above 1 lowers probabilities, 1 leaves them")
    if found.ece is not None:
        yield Tile("Calibration error", percent(found.ece), "mean distance of probability and accuracy")


def _fitted(card: ModelCard) -> str:
    fitted = card.calibration
    if fitted is None:
        return "This model isn't calibrated: it is from an older version, or was trained with calibration=False."
    where = "validation images" if fitted.source == "valid" else "training images, out of fold,"
    before, after = plain(fitted.nll_before), plain(fitted.nll_after)
    if fitted.temperature == 1:
        return (
            f"On {whole(fitted.images)} {where} no temperature was used: none had a lower NLL than {before}, or there "
            "were too few images to choose one. The probabilities are those of the trained head."
        )
    return (
        f"The temperature was fitted on {whole(fitted.images)} {where} whose NLL went from {before} to {after}. It is "
        "never worse there, since otherwise no temperature is used; on other images, such as these, it can be."
    )


def _reliability(found: CalibrationResult) -> list[Markup | str]:
    confidence, accuracy = [each.confidence for each in found.bins], [each.accuracy for each in found.bins]
    diagram = line_chart(
        "Reliability diagram",
        [Series("accuracy", confidence, accuracy), Series("perfect calibration", [0.0, 1.0], [0.0, 1.0])],
        x_label="best probability", y_label="accuracy", x_format=percent, y_format=percent, from_zero=True,
        note="Below the diagonal, probabilities are too high; above it, too low. Points of few images vary by chance.",
    )  # fmt: skip
    rows = [
        (
            f"{percent(each.low)} – {percent(each.high)}", each.count, each.confidence, each.accuracy,
            " – ".join(map(percent, each.accuracy_interval)),
        )
        for each in found.bins
    ]  # fmt: skip
    columns: list[Column | str] = [
        "Best probability", Column("Images", True, whole), Column("Mean probability", True, percent),
        Column("Accuracy", True, percent), Column("95% interval", True),
    ]  # fmt: skip
    return [diagram, table("Reliability by bin", columns, rows)]


def _coverage_tiles(result: Evaluation, found: CoverageResult) -> Iterator[Tile]:
    low, high = found.interval
    yield Tile("Asked for", percent(found.asked), "of the images")
    note = f"95% interval {percent(low)} – {percent(high)}"
    yield Tile("Measured", percent(found.measured), note, "issue" if high < found.asked else None)
    yield Tile("Classes per set", plain(found.mean_size), f"mean of {whole(result.count)} images")


def _sizes(found: CoverageResult) -> Markup:
    images = sum(found.sizes)
    bars = [
        Bar("1 class" if size == 1 else f"{size} classes", count / images, note=f"{whole(count)} images")
        for size, count in enumerate(found.sizes[:_SIZES_SHOWN], 1)
    ]
    if more := sum(found.sizes[_SIZES_SHOWN:]):
        bars.append(Bar(f"more than {_SIZES_SHOWN}", more / images, note=f"{whole(more)} images"))
    return bar_chart("Sizes of prediction sets", bars, format=percent, maximum=1)


def _holds(found: CoverageResult) -> Markup | str:
    if found.interval[1] < found.asked:
        return callout(
            "issue", "The sets contain the right class less often than asked for.",
            "These images are probably of another kind than the validation images that the sets are chosen by.",
        )  # fmt: skip
    return (
        "The share that is asked for holds for new images of the same kind as the validation images, over all classes "
        "together, not for each of them. The most probable class is always in the set."
    )
