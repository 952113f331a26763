"""One model: its versions and aliases, which version is live and was, and two versions compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.comparison_parts import comparison_parts
from breedclf.console.content import Action, Content, Fragment, Links, Parameters
from breedclf.console.pages.models import served_by
from breedclf.console.stored_actions import PROMOTION
from breedclf.console.stored_commands import rollback_command
from breedclf.console.task_parts import tasks_part
from breedclf.errors import ConfigError
from breedclf.model_store.records import PREVIOUS, ModelRecord, ModelVersion
from breedclf.model_store.summary import measured_accuracy
from breedclf.overview.models import ModelView
from breedclf.overview.overview import Overview
from breedclf.overview.tasks import TaskView
from breedclf.reporting.blocks import Column, bullets, callout, facts, table
from breedclf.reporting.formats import percent, plain

_SHOWN = 200


class ModelPage:
    """`/models/{name}`; the query's `a` and `b` are two versions to compare."""

    path: ClassVar[str] = "/models/{name}"
    label: ClassVar[str] = ""

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        name = parameters["name"]
        model = known_model(overview, name)
        subtitle = Markup("Model in {}").format(overview.places.store)
        if model.record is None:
            return Content(
                name, [Fragment("problem", callout("bad", "It can't be read", str(model.problem)))], subtitle
            )
        record, tasks = model.record, overview.tasks().value or ()
        promotions = [task for task in tasks if (task.kind, task.subject) == (PROMOTION, name)]
        fragments = [
            Fragment("state", _state(overview, record, links)),
            Fragment("tasks", tasks_part("Promotions started here", promotions, links, promotion_result)),
            Fragment("versions", _versions(record, links)),
            *comparison_parts(overview, record, parameters, links),
            Fragment("history", _history(record)),
        ]
        return Content(name, fragments, subtitle)

    def all(self, overview: Overview) -> Sequence[Parameters]:
        return [{"name": model.name} for model in overview.models().value or ()]


def known_model(overview: Overview, name: str) -> ModelView:
    """A model of the store; a damaged one is one, too.

    Raises:
        BreedclfError: there is none of this name.
    """
    model = overview.model(name).value
    if model is None:
        raise ConfigError(f"there is no model {name!r}")
    if model.record is None and all(each.name != name for each in overview.models().value or ()):
        raise model.problem or ConfigError(f"there is no model {name!r}")
    return model


def _state(overview: Overview, record: ModelRecord, links: Links) -> Markup:
    aliases = sorted(record.aliases.items(), key=lambda each: (each[0] not in ("live", "previous"), each[0]))
    pairs: list[tuple[str, object]] = [
        (alias, html.link(links.to(f"/models/{record.name}/{number}"), f"version {number}"))
        for alias, number in aliases
    ]
    if record.live is None:
        pairs.insert(0, ("live", "none: promote a version"))
    if (served := served_by(overview, record, links)) is not None:
        pairs.append(("served by", served))
    if record.promoting is not None:
        text = (
            f"version {record.promoting.version} to endpoint {record.promoting.endpoint.name}: under way, or it was "
            "interrupted, and the next promotion finishes or undoes it"
        )
        pairs.append(("being promoted", text))
    return Markup("<h2>State</h2>{}{}").format(facts(pairs), html.actions(_actions(overview, record), links))


def _actions(overview: Overview, record: ModelRecord) -> list[Action]:
    previous, store = record.aliases.get(PREVIOUS), overview.places.store
    if previous is None:
        return []
    endpoint = "" if record.endpoint is None else f" Endpoint {record.endpoint.name} is updated."
    question = f"Make version {previous} of {record.name} live again, in place of version {record.live}?{endpoint}"
    actions = [
        Action("roll-back-model", "Roll back", {"name": record.name}, rollback_command(store, record.name), question)
    ]
    if record.endpoint is not None:
        fields = {"name": record.name, "alias_only": "yes"}
        command = rollback_command(store, record.name, alias_only=True)
        question = f"Move only the alias: version {previous} of {record.name} is live, and no endpoint is updated?"
        actions.append(Action("roll-back-model", "Roll back the alias only", fields, command, question))
    return actions


def promotion_result(task: TaskView) -> Markup | str:
    """What a promotion or a rollback printed: which version is live, and the checks that it passed."""
    found = task.result() or {}
    live, previous, checks = found.get("live"), found.get("previous"), found.get("checks")
    text = f"Version {live} is live" + (f", version {previous} is previous." if previous else ".")
    lines = [
        f"passed: {check.get('name')}: {check.get('detail')}"
        for check in (checks if isinstance(checks, list) else [])
        if isinstance(check, dict)
    ]
    return callout("ok", text, *([bullets(lines)] if lines else []))


def _versions(record: ModelRecord, links: Links) -> Markup:
    columns: list[Column | str] = [
        "version", "aliases", "test accuracy", Column("valid accuracy", numeric=True), "architecture",
        Column("classes", numeric=True), Column("MB", numeric=True), "added", "notes",
    ]  # fmt: skip
    rows = [_row(record, version, links) for version in list(reversed(record.versions))[:_SHOWN]]
    more = len(record.versions) - len(rows)
    rest = Markup("<p>{} older versions aren't listed.</p>").format(more) if more else ""
    return Markup("<h2>Versions</h2>{}{}").format(table("The newest first", columns, rows), rest)


def _row(record: ModelRecord, version: ModelVersion, links: Links) -> list[object]:
    accuracy = version.metrics.get("valid_accuracy")
    return [
        html.link(links.to(f"/models/{record.name}/{version.version}"), f"version {version.version}"),
        ", ".join(record.aliases_of(version.version)) or None,
        measured_accuracy(version),
        None if accuracy is None else percent(accuracy),
        version.architecture,
        version.classes,
        plain(version.megabytes, 3),
        html.moment(version.added.timestamp()),
        version.notes or None,
    ]


def _history(record: ModelRecord) -> Markup:
    if not record.history:
        return Markup("")
    rows = [
        (html.moment(change.at.timestamp()), change.alias, change.before, change.after, change.reason or None)
        for change in list(reversed(record.history))[:_SHOWN]
    ]
    return Markup("<h2>History</h2>{}").format(
        table("Moves of aliases, the latest first", ["at", "alias", "from version", "to version", "reason"], rows)
    )
