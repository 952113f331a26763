"""The HTML report of a comparison: the verdict, wins by class, and the images that exactly one model gets right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from breedclf._version import __version__
from breedclf.evaluation.maps import AnswerMaps, answer_maps
from breedclf.evaluation.paired import LEVEL, equals
from breedclf.evaluation.thumbnails import Thumbnails
from breedclf.model_store.comparison import ComparedImages, FlippedImage, ModelComparison
from breedclf.model_store.comparison_parts import (
    SHOWN,
    by_class,
    class_names,
    figures,
    headline,
    images_text,
    spread,
    verdict_of,
)
from breedclf.reporting import Section, render_page
from breedclf.reporting.blocks import (
    Column,
    GalleryImage,
    bullets,
    callout,
    details,
    facts,
    gallery,
    table,
    tiles,
)
from breedclf.reporting.formats import whole
from breedclf.reporting.notebook import notebook_view

_ROWS, _SKIPPED_SHOWN, _CLASSES_IN_VIEW = 500, 50, 8


@dataclass(frozen=True)
class ShownImages:
    """Flipped images of a report: a small JPEG of each, and the maps of both models' answers."""

    flipped: Sequence[FlippedImage]
    jpegs: Sequence[bytes]
    maps: tuple[AnswerMaps, AnswerMaps]


def comparison_page(comparison: ModelComparison, *, explain: bool = True, made_at: datetime | None = None) -> str:
    """Render the report; `made_at` is the time in the footer.

    With `explain`, at most 24 images pass through both networks again.

    Raises:
        ImageError: an image was changed meanwhile.
        ArtifactError: a model was.
    """
    tone, heading, sentences = verdict_of(comparison)
    mended = [each for each in comparison.flipped if each.mended]
    broken = [each for each in comparison.flipped if not each.mended]
    first, second = (_shown(comparison.sources, spread(some), explain=explain) for some in (mended, broken))
    return render_page(
        "Comparison of two models",
        [
            figures(comparison),
            _flipped(comparison, "Mended", mended, first),
            _flipped(comparison, "Broken", broken, second),
            by_class(comparison),
            _reading(comparison),
            *_skipped(comparison),
        ],
        subtitle=f"{comparison.a} and {comparison.b} on the same {images_text(comparison.count)}",
        summary=[callout(tone, heading, *sentences), tiles(headline(comparison))],
        made_by=f"breedclf {__version__}",
        made_at=made_at,
    )


def comparison_view(comparison: ModelComparison) -> str:
    """What a notebook shows of a comparison."""
    changed, class_name = comparison.changed_classes[:_CLASSES_IN_VIEW], class_names(comparison)
    columns: list[Column | str] = [
        "Class", Column("Mended", True, whole), Column("Broken", True, whole), Column("Images", True, whole),
    ]  # fmt: skip
    rows = [(class_name(each.label), each.only_second, each.only_first, each.count) for each in changed]
    return notebook_view(
        f"{comparison.a} and {comparison.b}",
        comparison.verdict,
        tiles(headline(comparison)),
        details("Classes that changed most", table("", columns, rows)),
    )


def _shown(sources: ComparedImages | None, flipped: Sequence[FlippedImage], *, explain: bool) -> ShownImages | None:
    if sources is None or not flipped:
        return None
    thumbnails = Thumbnails(sources.images, sources.root)
    return ShownImages(
        flipped,
        thumbnails.of([each.image for each in flipped]),
        (
            _maps(sources, 0, [thumbnails.position(each.image) for each in flipped], [each.first for each in flipped]),
            _maps(sources, 1, [thumbnails.position(each.image) for each in flipped], [each.second for each in flipped]),
        )
        if explain
        else (AnswerMaps(), AnswerMaps()),
    )


def _maps(sources: ComparedImages, which: int, positions: Sequence[int], answers: Sequence[str]) -> AnswerMaps:
    return answer_maps(
        sources.models[which],
        sources.images,
        positions,
        answers,
        device=sources.device,
        precision=sources.precision,
    )


def _flipped(
    comparison: ModelComparison, heading: str, flipped: Sequence[FlippedImage], shown: ShownImages | None
) -> Section:
    right, wrong = (comparison.b, comparison.a) if heading == "Mended" else (comparison.a, comparison.b)
    if not flipped:
        return Section(heading, [f"There is no image that only {right} predicts correctly."])
    blocks: list[Markup | str] = []
    reasons = [] if shown is None else list(dict.fromkeys(each.reason for each in shown.maps if each.reason))
    if shown is not None:
        with_maps = any(each.jpegs for each in shown.maps)
        blocks.append(gallery(_items(comparison, shown), per_row=3 if with_maps and not reasons else None))
    class_name = class_names(comparison)
    rows = [
        (each.image, class_name(each.label), class_name(each.first), class_name(each.second))
        for each in flipped[:_ROWS]
    ]
    columns = ["Image", "Class", comparison.a, comparison.b]
    blocks.append(details(f"All {whole(len(flipped))} as a table", table(heading, columns, rows)))
    lead = f"Images that {right} predicts correctly, and {wrong} doesn't."
    if len(flipped) > SHOWN and shown is not None:
        lead += f" {SHOWN} of {whole(len(flipped))} are shown, spread over all."
    if shown is not None and shown.maps[0].jpegs and shown.maps[1].jpegs:
        exact = all(each.is_exact for each in shown.maps)
        lead += " In the cropped images, yellow places speak most for the model's answer" + (
            ": what each contributes to the score." if exact else "; the maps are approximations."
        )
    return Section(heading, [*(f"There are no maps: {reason}." for reason in reasons), *blocks], lead=lead)


def _items(comparison: ModelComparison, shown: ShownImages) -> list[GalleryImage]:
    items, class_name = [], class_names(comparison)
    with_maps = any(maps.jpegs for maps in shown.maps)
    for at, (each, jpeg) in enumerate(zip(shown.flipped, shown.jpegs, strict=True)):
        answers = [f"{comparison.a}: {class_name(each.first)}", f"{comparison.b}: {class_name(each.second)}"]
        lines = [class_name(each.label), *([] if with_maps else answers), each.image]
        items.append(GalleryImage(jpeg, f"{each.image}: {', '.join(answers)}", lines))
        for answer, maps in zip(answers, shown.maps, strict=True):
            if maps.jpegs:
                items.append(GalleryImage(maps.jpegs[at], f"{each.image}: why {answer}", [answer]))
    return items


def _reading(comparison: ModelComparison) -> Section:
    return Section(
        "How to read this",
        [
            bullets(
                [
                    "p is the probability that two equally good models differ by at least this much on as many images "
                    f"with different answers. Below {LEVEL:g} the difference is hardly chance. A large p-value doesn't "
                    "say that the models are equally good: it may be that there are too few images.",
                    "The interval says how large the difference in accuracy may be. It takes into account that both "
                    "models predict the same images, which the intervals of each accuracy don't.",
                    "The more models you compare on the same images, the more often one seems better by chance. Images "
                    "that were used to choose a model favor it: keep some that no choice has seen.",
                ]
            ),
            facts(
                [
                    ("Images", whole(comparison.count)),
                    ("Mended and broken", f"{whole(comparison.only_b)} and {whole(comparison.only_a)}"),
                    ("p-value", equals(comparison.p_value).lstrip("= ")),
                ]
            ),
        ],
    )


def _skipped(comparison: ModelComparison) -> list[Section]:
    if not comparison.skipped:
        return []
    more = len(comparison.skipped) - _SKIPPED_SHOWN
    listed = [*comparison.skipped[:_SKIPPED_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return [Section("Skipped images", [bullets(listed)])]
