"""The report's sections about explanations: the worst images with their maps, and evidence on the border."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from breedclf.evaluation.maps import BorderEvidence, ReportMaps
from breedclf.evaluation.metrics import Evaluation, WrongImage
from breedclf.explanations.border import UNIFORM_BORDER_SHARE
from breedclf.reporting import Section
from breedclf.reporting.blocks import GalleryImage, callout, gallery
from breedclf.reporting.formats import percent, whole

_LEAD = (
    "Misclassified images; those with the lowest probability of the true class come first. Look for images in the "
    "wrong folder, cropped-out subjects, and images with two subjects."
)


def worst_images(result: Evaluation, jpegs: Sequence[bytes], maps: ReportMaps | None) -> Section:
    """The worst images, each followed by its maps if there are any."""
    if not result.worst:
        blocks: list[Markup | str] = ["No image was misclassified."]
        return Section("Worst images", [*blocks, *_border(maps)])
    shown = dict(zip(result.labels, result.class_names, strict=True))
    photos = [_photo(wrong, jpeg, shown) for wrong, jpeg in zip(result.worst, jpegs, strict=True)]
    if maps is None or not maps.worst:
        reason = f" They have no maps: {maps.reason}." if maps is not None and maps.reason else ""
        return Section("Worst images", [gallery(photos), *_border(maps)], lead=_LEAD + reason)
    items = list[GalleryImage]()
    for wrong, photo, each in zip(result.worst, photos, maps.worst, strict=True):
        answer, true = shown[wrong.predicted], shown[wrong.true]
        items += [
            photo,
            GalleryImage(each.answer, f"{wrong.path}: why {answer}", [f"Why {answer}", maps.method]),
            GalleryImage(
                each.difference,
                f"{wrong.path}: why {answer} and not {true}",
                [f"Why {answer} and not {true}", f"orange speaks for {answer}, blue for {true}"],
            ),
        ]
    kind = (
        "The maps are exact: what each place contributes to the score."
        if maps.is_exact
        else f"The maps are approximations by {maps.method}."
    )
    lead = f"{_LEAD} In the cropped image, yellow places speak most for the answer. {kind}"
    return Section("Worst images", [gallery(items, per_row=3), *_border(maps)], lead=lead)


def _photo(wrong: WrongImage, jpeg: bytes, shown: dict[str, str]) -> GalleryImage:
    return GalleryImage(
        jpeg,
        f"{wrong.path}: {shown[wrong.true]}, classified as {shown[wrong.predicted]}",
        [
            f"{shown[wrong.true]}: {percent(wrong.true_probability)}",
            f"predicted {shown[wrong.predicted]}: {percent(wrong.probability)}",
            wrong.path,
        ],
    )


def _border(maps: ReportMaps | None) -> Iterator[Markup | str]:
    border = None if maps is None else maps.border
    if border is None:
        return
    sentence = _border_sentence(border)
    if border.is_suspicious:
        yield callout(
            "issue",
            "Much of the evidence is on the border of the images.",
            sentence,
            "If the subjects don't fill the images, the model may recognize backgrounds: look at the maps, and "
            "evaluate it on images from other places.",
        )
    else:
        yield sentence


def _border_sentence(border: BorderEvidence) -> str:
    count = len(border.shares)
    return (
        f"On average {percent(border.mean)} of the evidence for the answer is on the border, the outer seventh on each "
        f"side, in {whole(count)} {'image' if count == 1 else 'images'} of the split. With evidence everywhere alike "
        f"it would be {percent(UNIFORM_BORDER_SHARE)}. {whole(border.above_uniform)} of them "
        f"{'has' if border.above_uniform == 1 else 'have'} more than that."
    )
