"""The page's sections about how good the model is: its accuracy, its mistakes, and the gate."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from breedclf.evaluation.metrics import Evaluation
from breedclf.evaluation.report import confusion_chart, confusion_table, verdict
from breedclf.journey.page.material import Material, present
from breedclf.journey.record import StepRecord
from breedclf.reporting.blocks import bullets, callout, gallery, table
from breedclf.reporting.formats import percent, plain, whole

Block = Markup | str

MOST_WORST = 4
_MOST_PAIRS = 5
_LARGEST_MATRIX = 12


def accuracy_blocks(_step: StepRecord, material: Material) -> Iterator[Block]:
    """The accuracy with its interval, what is confused, the worst images, and whether answers can be trusted."""
    result = material.evaluation
    if result is None:
        yield "evaluation/metrics.json is gone or damaged, so its charts can't be drawn."
        return
    tone, heading, sentences = verdict(result)
    yield callout(tone, heading, *sentences)
    if len(result.labels) <= _LARGEST_MATRIX:
        yield confusion_chart(result)
    yield confusion_table(result, _MOST_PAIRS)
    shown = dict(zip(result.labels, result.class_names, strict=True))
    worst = present(
        material.image(
            each.path,
            f"a test image of {shown[each.true]}, predicted as {shown[each.predicted]}",
            [f"{shown[each.true]}", f"predicted {shown[each.predicted]}, {percent(each.probability)}", each.path],
        )
        for each in result.worst[:MOST_WORST]
    )
    if worst:
        yield Markup("<h3>The clearest mistakes</h3>")
        yield gallery(worst)
    yield Markup("<h3>Can its answers be trusted?</h3>")
    yield bullets(_trust(result))


def _trust(result: Evaluation) -> Iterator[str]:
    if (found := result.calibration) is not None:
        error = "" if found.ece is None else f", the expected calibration error is {percent(found.ece)}"
        yield (
            f"Probabilities are calibrated with temperature {plain(found.temperature, 3)}: the negative "
            f"log-likelihood is {plain(found.nll_after, 3)} instead of {plain(found.nll_before, 3)}{error}."
        )
    if result.refused is None or result.known_share is None:
        yield "The model has no feature bank: it gives every image one of its classes."
    else:
        yield (
            f"{whole(result.refused.count)} of {whole(result.count)} test images are answered “none of these”; "
            f"{percent(result.known_share)} get a class."
        )
    steps = [step for step in result.confidence if step.min_confidence == 0.9 and step.accuracy is not None]
    for step in steps:
        yield (
            f"{percent(step.answered)} of the images have a class with a probability of at least 90%; of those, "
            f"{percent(step.accuracy or 0.0)} are correct."
        )


def gate_blocks(step: StepRecord, _material: Material) -> Iterator[Block]:
    """Every check, with the figures that decided it."""
    checks = step.outcome.values.get("checks") or ()
    rows = [(each.get("name"), _decision(bool(each.get("passed"))), each.get("detail")) for each in checks]
    yield table("Checks", ["Check", "Decision", "Figures"], rows, empty="No check applied.")
    if step.status == "Refused":
        yield callout("issue", "The model was neither registered nor deployed", step.outcome.headline)


def _decision(passed: bool) -> Markup:
    return Markup('<span class="badge tone-{}">{}</span>').format(*(("ok", "passed") if passed else ("bad", "refused")))
