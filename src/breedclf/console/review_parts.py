"""What a review has found: suspects beside the images most like them, near duplicates, outliers, and the moves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Action, Fragment, Links, Parameters
from breedclf.console.thumbnails import Thumbnail, figure, picture, thumbnails
from breedclf.errors import BreedclfError
from breedclf.label_review.moves import read_moves
from breedclf.overview.dataset_findings import ReviewFindings, SuspectImage
from breedclf.overview.dataset_images import DatasetImages
from breedclf.overview.datasets import DatasetView
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import bullets, callout, details, facts, table
from breedclf.reporting.formats import percent, plain, whole
from breedclf.text.counts import counted

PER_PAGE = 12
_GROUPS, _GROUP_IMAGES, _OUTLIERS, _MOVES, _SKIPPED = 12, 6, 12, 200, 50


def review_parts(
    overview: Overview, dataset: DatasetView, review: ReviewFindings, parameters: Parameters, links: Links
) -> list[Fragment]:
    """The parts of a page about a review."""
    return [
        Fragment("review", _summary(review)),
        Fragment("suspects", _suspects(overview.images, dataset, review, parameters, links)),
        Fragment("duplicates", _duplicates(overview.images, dataset, review)),
        Fragment("outliers", _outliers(overview.images, dataset, review)),
        Fragment("moves", _moves(dataset, review)),
    ]


def _summary(review: ReviewFindings) -> Markup:
    pairs: list[tuple[str, object]] = [
        ("reviewed", html.moment(review.time)),
        ("images", whole(review.images)),
        ("suspects", whole(len(review.suspects))),
        ("near duplicates", counted(len(review.near_duplicates), "group")),
        ("outliers", whole(len(review.outliers))),
    ]
    if review.expected_precision is not None:
        pairs.append(("expected precision", f"{percent(review.expected_precision)} of the suspects are wrong"))
    if review.accuracy is not None:
        pairs.append(("predicted as labeled", percent(review.accuracy)))
    pairs.append(("report", str(review.report)))
    skipped = [
        details(f"{whole(len(review.skipped))} unreadable images were left out", bullets(review.skipped[:_SKIPPED]))
    ]
    refused = callout("info", "No suspects are listed", review.refused) if review.refused else ""
    return Markup("<h2>Review of the labels</h2>{}{}{}").format(
        refused, facts(pairs), skipped[0] if review.skipped else ""
    )


def _suspects(
    images: DatasetImages, dataset: DatasetView, review: ReviewFindings, parameters: Parameters, links: Links
) -> Markup:
    count = len(review.suspects)
    if not count:
        return Markup("")
    pages = -(-count // PER_PAGE)
    text = parameters.get("suspects", "1")
    page = min(max(1, int(text)), pages) if text.isdecimal() and len(text) < 9 else 1
    shown = review.suspects[(page - 1) * PER_PAGE : page * PER_PAGE]
    items = Markup("").join(_suspect(images, dataset.path, each) for each in shown)
    head = Markup("<h2>Suspects</h2><p>{}</p>").format(
        "Images whose label may be wrong, the most suspicious first, each with the images most like it."
    )
    return Markup('{}<ul class="suspects">{}</ul>{}').format(head, items, _pages(dataset, page, pages, count, links))


def _suspect(images: DatasetImages, root: str, suspect: SuspectImage) -> Markup:
    near = Markup("").join(
        figure(images, root, Thumbnail(each.path, (each.label, f"similarity {plain(each.similarity, 3)}")))
        for each in suspect.neighbors[:3]
    )
    return Markup(
        '<li><div class="thumb">{}</div><div><p><strong>{}</strong></p><p>given: {}</p><p>proposed: {}</p>'
        '<p>wrong with {}</p></div><div class="near">{}</div></li>'
    ).format(
        picture(images, root, suspect.path),
        suspect.path,
        suspect.given,
        suspect.proposed,
        percent(suspect.probability_wrong),
        near,
    )


def _pages(dataset: DatasetView, page: int, pages: int, count: int, links: Links) -> Markup:
    if pages == 1:
        return Markup("")
    if not links.is_live:
        return Markup("<p>{}</p>").format(f"The first {PER_PAGE} of {count:,} are shown.")
    parts = [Markup("<span>Page {} of {}</span>").format(page, pages)]
    path = f"/data/{dataset.key}"
    if page > 1:
        parts.insert(0, html.link(links.to(path, suspects=page - 1), "More suspicious"))
    if page < pages:
        parts.append(html.link(links.to(path, suspects=page + 1), "Less suspicious"))
    return Markup('<nav class="pages" aria-label="Pages of suspects">{}</nav>').format(Markup(" ").join(parts))


def _duplicates(images: DatasetImages, dataset: DatasetView, review: ReviewFindings) -> Markup:
    groups = review.near_duplicates
    if not groups:
        return Markup("")
    parts = []
    for group in groups[:_GROUPS]:
        where = "across splits" if group.across_splits else "within a split"
        shown = [Thumbnail(path, (label, f"{split}: {path}")) for path, split, label in group.images[:_GROUP_IMAGES]]
        more = len(group.images) - len(shown)
        parts.append(
            Markup("<div><p>{}</p>{}</div>").format(
                f"Similarity {plain(group.similarity, 4)}, {where}" + (f", {more:,} more images" if more else ""),
                thumbnails(images, dataset.path, shown),
            )
        )
    return Markup('<h2>Near duplicates</h2><p>{}</p><div class="groups">{}</div>').format(
        _some(len(parts), len(groups), "group", "of images that are probably one photo"), Markup("").join(parts)
    )


def _outliers(images: DatasetImages, dataset: DatasetView, review: ReviewFindings) -> Markup:
    if not review.outliers:
        return Markup("")
    shown = [
        Thumbnail(each.path, (each.given, f"distance {plain(each.distance, 3)}", f"{each.split}: {each.path}"))
        for each in review.outliers[:_OUTLIERS]
    ]
    return Markup("<h2>Outliers</h2><p>{}</p>{}").format(
        _some(len(shown), len(review.outliers), "image", "far from all others"),
        thumbnails(images, dataset.path, shown),
    )


def _moves(dataset: DatasetView, review: ReviewFindings) -> Markup:
    if not review.moves.is_file():
        return Markup("")
    new = f"{dataset.path}-corrected"
    command = ["breedclf", "data", "review", dataset.path, *dataset.review_settings]
    command += ["--output", str(review.folder), "--apply", new]
    body = [
        Markup("<p>{}</p>").format(
            f"{review.moves} says what becomes of each image; edit it if you don't agree. The command writes a new "
            "folder of links with the moves applied, and leaves the images where they are."
        ),
        html.code(Action("", "", {}, command).command_line, label="Apply the moves"),
        _moves_table(review),
    ]
    return Markup("<h2>Moves</h2>{}").format(Markup("").join(body))


def _moves_table(review: ReviewFindings) -> Markup:
    try:
        moves = list(islice(read_moves(review.moves), _MOVES))
    except (BreedclfError, OSError, ValueError) as error:
        return callout("bad", "The moves can't be read", str(error))
    columns: Sequence[str] = ("image", "given", "action", "to", "wrong with", "reason")
    rows = [(each.path, each.given, each.action, each.to, each.probability_wrong, each.reason) for each in moves]
    return details(f"The first {whole(len(rows))} moves", table("Moves", columns, rows))


def _some(shown: int, count: int, what: str, which: str) -> str:
    return f"{counted(count, what)} {which}" + (f"; {whole(shown)} are shown." if shown < count else ".")
