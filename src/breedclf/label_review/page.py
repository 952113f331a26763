"""The HTML report of a review: how far to trust it, suspects with their neighbors, near duplicates, outliers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from markupsafe import Markup

from breedclf._version import __version__
from breedclf.data.thumbnails import thumbnails
from breedclf.label_review.result import NearDuplicates, Review, Suspect
from breedclf.label_review.text import effect_text, precision_text
from breedclf.reporting import Section, render_page
from breedclf.reporting.blocks import Column, GalleryImage, Tile, bullets, callout, details, gallery, table, tiles
from breedclf.reporting.formats import percent, whole

_SUSPECTS, _DUPLICATES, _OUTLIERS, _ROWS = 30, 20, 20, 500
_MOST_OF_A_GROUP = 6
_THUMBNAIL_PX = 144


def review_page(review: Review, *, made_at: datetime | None = None) -> str:
    """Render the report; `made_at` is the time in the footer. Only the first images of each list are shown."""
    # An image that was readable when its features were computed may be gone now.
    jpegs = thumbnails(review.images.split.images, _shown_rows(review), _THUMBNAIL_PX, skip_unreadable=True)
    return render_page(
        "Review of labels",
        [
            _suspects(review, jpegs),
            _duplicates(review, jpegs),
            _outliers(review, jpegs),
            _reading(review),
            *_skipped(review),
        ],
        subtitle=f"{whole(review.count)} images of {whole(len(review.images.labels))} classes",
        summary=[_verdict(review), tiles(_headline(review))],
        made_by=f"breedclf {__version__}",
        made_at=made_at,
    )


def _shown_rows(review: Review) -> Iterator[int]:
    for suspect in review.suspects[:_SUSPECTS]:
        yield suspect.row
        yield from (neighbor.row for neighbor in suspect.neighbours)
    for group in review.near_duplicates[:_DUPLICATES]:
        yield from group.rows[:_MOST_OF_A_GROUP]
    yield from (outlier.row for outlier in review.outliers[:_OUTLIERS])


def _verdict(review: Review) -> Markup:
    if review.refused:
        return callout("issue", "Labels aren't reviewed.", f"{review.refused[0].upper()}{review.refused[1:]}.")
    if not review.suspects:
        return callout("ok", precision_text(review))
    return callout(
        "issue",
        precision_text(review),
        f"About {review.error_rate or 0:.1%} of all labels are estimated to be wrong. The estimate takes wrong labels "
        "for random ones; mistakes between classes that look alike are harder to find.",
    )


def _headline(review: Review) -> list[Tile]:
    across = sum(each.across_splits for each in review.near_duplicates)
    expected = "" if review.expected_precision is None else f"{percent(review.expected_precision)} expected to be wrong"
    return [
        Tile("Suspects", "–" if review.refused else whole(len(review.suspects)), expected),
        Tile(
            "Near duplicates",
            whole(len(review.near_duplicates)),
            f"{'group' if len(review.near_duplicates) == 1 else 'groups'}, {whole(across)} across splits",
        ),
        Tile("Outliers", whole(len(review.outliers)), "images unlike all others"),
        Tile("Predicted as labeled", percent(review.accuracy), "by heads trained on the other images"),
    ]


def _suspects(review: Review, jpegs: Mapping[int, bytes]) -> Section:
    if review.refused:
        return Section("Suspects", [f"None are listed: {review.refused}."])
    blocks: list[Markup | str] = [block for each in review.suspects[:_SUSPECTS] for block in _suspect(jpegs, each)]
    rows = [
        (at, each.path, each.given, each.proposed, each.probability_wrong)
        for at, each in enumerate(review.suspects[:_ROWS], 1)
    ]
    columns: list[Column | str] = [
        Column("Rank", True, whole), "Image", "Label", "Proposed", Column("Probably wrong", True, percent),
    ]  # fmt: skip
    if rows:
        blocks.append(details(f"All {whole(len(review.suspects))} as a table", table("Suspects", columns, rows)))
    else:
        blocks.append("None.")
    lead = "The most suspicious first, each with the three images most like it."
    return Section("Suspects", blocks, lead=lead if rows else "")


def _suspect(jpegs: Mapping[int, bytes], each: Suspect) -> list[Markup]:
    heading = Markup("<p><strong>{} → {}</strong>, wrong with a probability of {:.0%}<br><code>{}</code></p>").format(
        each.given, each.proposed, each.probability_wrong, each.path
    )
    shown = [_image(jpegs, each.row, f"{each.path}, labeled {each.given}", ["this image", f"label: {each.given}"])]
    for neighbor in each.neighbours:
        lines = [neighbor.class_name, f"similarity {neighbor.similarity:.2f}"]
        shown.append(_image(jpegs, neighbor.row, f"{neighbor.path}, labeled {neighbor.class_name}", lines))
    return [heading, gallery(image for image in shown if image is not None)]


def _image(jpegs: Mapping[int, bytes], row: int, alt: str, lines: list[str]) -> GalleryImage | None:
    jpeg = jpegs.get(row)
    return None if jpeg is None else GalleryImage(jpeg, alt, lines)


def _duplicates(review: Review, jpegs: Mapping[int, bytes]) -> Section:
    blocks: list[Markup | str] = []
    if effect := effect_text(review):
        blocks.append(callout("issue", "Test images have near duplicates among the training images.", effect))
    for each in review.near_duplicates[:_DUPLICATES]:
        blocks += _group(jpegs, each)
    if not review.near_duplicates:
        blocks.append("None.")
    elif (more := len(review.near_duplicates) - _DUPLICATES) > 0:
        blocks.append(f"{whole(more)} more are in review.json.")
    lead = f"Images with a similarity of at least {review.near_duplicates_from:.2f}, those across splits first."
    return Section("Near duplicates", blocks, lead=lead)


def _group(jpegs: Mapping[int, bytes], each: NearDuplicates) -> list[Markup]:
    across = ", across splits" if each.across_splits else ""
    labels = ", different labels" if len(set(each.labels)) > 1 else ""
    heading = Markup("<p><strong>{} images{}{}</strong>, similarity {:.3f}</p>").format(
        len(each.paths), across, labels, each.similarity
    )
    members = zip(each.rows, each.paths, each.splits, each.labels, strict=True)
    images = [
        _image(jpegs, row, path, [label, split, path]) for row, path, split, label in list(members)[:_MOST_OF_A_GROUP]
    ]
    return [heading, gallery(image for image in images if image is not None)]


def _outliers(review: Review, jpegs: Mapping[int, bytes]) -> Section:
    images = [
        _image(jpegs, each.row, each.path, [each.given, f"distance {each.distance:.2f}", each.path])
        for each in review.outliers[:_OUTLIERS]
    ]
    blocks: list[Markup | str] = [gallery(image for image in images if image is not None)] if images else ["None."]
    if (more := len(review.outliers) - _OUTLIERS) > 0:
        blocks.append(f"{whole(more)} more are in review.json.")
    return Section("Outliers", blocks, lead="Images far from all others, the farthest first.")


def _reading(review: Review) -> Section:
    lines = [
        "Each image was predicted by a head that was trained on all other images, without its near duplicates. An "
        "image whose given class such a head finds improbable is a suspect.",
        "The probabilities come from 20 repeats in which 5% of the labels were flipped at random: how often a flipped "
        "label looks like this one, times the estimated share of wrong labels.",
        "A suspect can have a correct label: an unusual view, two classes in one image, or a class that looks like "
        "another one. Look at the image before you move it.",
        "Wrong labels between classes that look alike, or that a whole group of similar images shares, are missed.",
    ]
    if review.not_judged:
        lines.append(f"{whole(review.not_judged)} images weren't judged, since their class has no other image.")
    return Section("How to read this", [bullets(lines)])


def _skipped(review: Review) -> list[Section]:
    return [Section("Left out", [bullets(review.skipped[:_ROWS])])] if review.skipped else []
