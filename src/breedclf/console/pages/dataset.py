"""One dataset: its classes and splits, its check and its review, and how to start them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Action, Content, Fragment, Links, Parameters
from breedclf.console.pages.data import uses_part, where_is
from breedclf.console.review_parts import review_parts
from breedclf.console.stored_commands import check_command, review_command
from breedclf.console.task_parts import tasks_part
from breedclf.overview.dataset_contents import Contents
from breedclf.overview.dataset_findings import CHECK, REVIEW, CheckFindings
from breedclf.overview.datasets import DatasetView
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import Column, bullets, callout, facts, table
from breedclf.reporting.formats import whole

_CLASSES, _PROBLEMS, _NOTES, _USES = 500, 200, 50, 20


class DatasetPage:
    """`/data/{key}`; the query's `suspects` is the page of the suspects, from 1."""

    path: ClassVar[str] = "/data/{key}"
    label: ClassVar[str] = ""

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        dataset = overview.dataset(parameters["key"])
        tasks = overview.tasks().value or ()
        contents = overview.contents(dataset).value if dataset.is_here else None
        check = overview.findings.check(dataset.path, tasks)
        review = overview.findings.review(dataset.path, dataset.key)
        checks, reviews = (
            [task for task in tasks if (task.kind, task.subject) == (kind, dataset.path)] for kind in (CHECK, REVIEW)
        )
        fragments = [
            Fragment("state", _state(dataset, contents, links)),
            Fragment("actions", _actions(overview, dataset, links)),
            Fragment("checking", tasks_part("Check started here", checks, links)),
            Fragment("reviewing", tasks_part("Review started here", reviews, links)),
            Fragment("check", _check(check)),
            *([] if review is None else review_parts(overview, dataset, review, parameters, links)),
            Fragment("classes", _classes(contents)),
        ]
        return Content(dataset.name, fragments, dataset.path)

    def all(self, overview: Overview) -> Sequence[Parameters]:
        return [{"key": each.key} for each in overview.datasets().value or ()]


def _state(dataset: DatasetView, contents: Contents | None, links: Links) -> Markup:
    pairs: list[tuple[str, object]] = [("path", dataset.path)]
    parts = []
    if contents is None:
        pairs.append(("images", f"unknown: it is {where_is(dataset)}"))
    elif contents.problem:
        parts.append(callout("bad", "It can't be read", contents.problem))
    elif contents.classes:
        counts = ", ".join(f"{split} {whole(count)}" for split, count in contents.per_split.items())
        pairs.append(("images", f"{whole(contents.images)} ({counts})"))
        pairs.append(("classes", whole(len(contents.classes))))
    if contents is not None and contents.note:
        pairs.append(("note", contents.note))
    used = uses_part(dataset, links, most=_USES)
    pairs.append(("used by", used or "nothing that is known here"))
    return Markup("<h2>State</h2>{}{}").format(Markup("").join(parts), facts(pairs))


def _actions(overview: Overview, dataset: DatasetView, links: Links) -> Markup:
    if not dataset.is_here:
        return Markup("")
    fields = {"data": dataset.key}
    actions = [
        Action("check-data", "Check", fields, check_command(dataset)),
        Action("review-data", "Review labels", fields, review_command(dataset, overview.places.home)),
    ]
    return Markup("<h2>Examine it</h2>{}").format(html.actions(actions, links))


def _check(check: CheckFindings | None) -> Markup:
    if check is None:
        return Markup("")
    pairs: list[tuple[str, object]] = [
        ("checked", check.source if check.time is None else html.moment(check.time)),
        ("images", f"{whole(check.readable)} of {whole(check.images)} can be read"),
        ("problems", whole(len(check.problems)) if check.problems else "none"),
    ]
    rows = [(each.kind.replace("_", " "), each.path, each.detail) for each in check.problems[:_PROBLEMS]]
    problems = table("Problems, the most severe first", ["kind", "where", "what is wrong"], rows) if rows else ""
    more = len(check.problems) - len(rows)
    rest = Markup("<p>{}</p>").format(f"{more:,} more aren't listed.") if more else ""
    notes = bullets(check.notes[:_NOTES]) if check.notes else ""
    return Markup("<h2>Check</h2>{}{}{}{}").format(facts(pairs), problems, rest, notes)


def _classes(contents: Contents | None) -> Markup:
    if contents is None or not contents.classes:
        return Markup("")
    columns: list[Column | str] = ["class"]
    columns += [Column(split, numeric=True, format=whole) for split in contents.splits]
    shown = contents.classes[:_CLASSES]
    more = len(contents.classes) - len(shown)
    rest = Markup("<p>{}</p>").format(f"{more:,} more classes aren't listed.") if more else ""
    rows = [(label, *counts) for label, counts in shown]
    return Markup("<h2>Classes</h2>{}{}").format(table("Images of each class", columns, rows), rest)
