"""One version of a model: its metrics, where it comes from, its settings, and how to make it live or name it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.comparison_parts import datasets_for
from breedclf.console.content import Action, Content, Fragment, Links, Parameters
from breedclf.console.pages.model import known_model, promotion_result
from breedclf.console.stored_actions import PROMOTION
from breedclf.console.stored_commands import alias_command, promote_command
from breedclf.console.task_parts import tasks_part
from breedclf.errors import ConfigError
from breedclf.model_store.records import LIVE, MAX_NAME_CHARS, PREVIOUS, ModelRecord, ModelVersion
from breedclf.model_store.store import ModelStore
from breedclf.model_store.summary import lineage_facts
from breedclf.overview.models import Known, origins_of
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import Column, facts, table
from breedclf.reporting.formats import plain

_LINKED = frozenset({"data", "tuning job", "trial", "profile", "evaluation", "review", "journey", "settings"})
_DATASETS = 3


class VersionPage:
    """`/models/{name}/{version}`"""

    path: ClassVar[str] = "/models/{name}/{version}"
    label: ClassVar[str] = ""

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        name = parameters["name"]
        record = known_model(overview, name).readable()
        if not parameters["version"].isdecimal() or len(parameters["version"]) > 9:
            raise ConfigError(f"model {name!r} has no version {parameters['version']!r}")
        version = record.version(parameters["version"])
        tasks = overview.tasks().value or ()
        promotions = [task for task in tasks if (task.kind, task.subject) == (PROMOTION, name)]
        return Content(
            f"{name} {version.version}",
            [
                Fragment("state", _state(overview, record, version, links)),
                Fragment("actions", _promotion(overview, record, version, links)),
                Fragment("tasks", tasks_part("Promotions started here", promotions, links, promotion_result)),
                Fragment("alias", _alias(overview, record, version, links)),
                Fragment("metrics", _metrics(version)),
                Fragment("lineage", _lineage(overview, version, links)),
                Fragment("settings", _settings(version)),
            ],
            Markup("Version of {}").format(html.link(links.to(f"/models/{name}"), name)),
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        return [
            {"name": model.name, "version": str(version.version)}
            for model in overview.models().value or ()
            if model.record is not None
            for version in model.record.versions
        ]


def _state(overview: Overview, record: ModelRecord, version: ModelVersion, links: Links) -> Markup:
    del links
    pairs: list[tuple[str, object]] = [
        ("aliases", ", ".join(record.aliases_of(version.version)) or "none"),
        ("added", html.moment(version.added.timestamp())),
        ("from", version.source),
        ("architecture", version.architecture),
        ("classes", f"{version.classes:,}"),
        ("size", f"{plain(version.megabytes, 3)} MB"),
        ("files", str(ModelStore(overview.places.store).path / "objects" / version.digest)),
    ]
    if version.notes:
        pairs.append(("notes", version.notes))
    return Markup("<h2>State</h2>{}").format(facts(pairs))


def _promotion(overview: Overview, record: ModelRecord, version: ModelVersion, links: Links) -> Markup:
    if record.live == version.version:
        return Markup("")
    store, number = overview.places.store, str(version.version)
    now = "" if record.live is None else f" in place of version {record.live}"
    endpoint = "" if record.endpoint is None else f" Endpoint {record.endpoint.name} is then updated."
    question = f"Make version {number} of {record.name} live{now}, if it passes the gate?{endpoint}"
    fields = {"name": record.name, "version": number}
    actions = [Action("promote-model", "Promote", fields, promote_command(store, record.name, number), question)]
    for dataset in datasets_for(overview, record, [version])[:_DATASETS]:
        command = promote_command(store, record.name, number, data=dataset.path)
        label = f"Promote after measuring on {dataset.name}"
        actions.append(Action("promote-model", label, {**fields, "data": dataset.key}, command, question))
    if record.endpoint is not None:
        command = promote_command(store, record.name, number, alias_only=True)
        question = f"Move only the alias: version {number} of {record.name} is live, and no endpoint is updated?"
        actions.append(
            Action("promote-model", "Promote the alias only", {**fields, "alias_only": "yes"}, command, question)
        )
    return Markup("<h2>Make it live</h2>{}").format(html.actions(actions, links))


def _alias(overview: Overview, record: ModelRecord, version: ModelVersion, links: Links) -> Markup:
    store, number = overview.places.store, str(version.version)
    fields = {"name": record.name, "version": number}
    setting = Action("alias-model", "Set alias", fields, alias_command(store, record.name, "ALIAS", number))
    removing = [
        Action(
            "alias-model",
            f"Delete alias {alias}",
            {"name": record.name, "alias": alias, "version": ""},
            alias_command(store, record.name, alias, None),
            f"Delete the alias {alias} of {record.name}?",
        )
        for alias in record.aliases_of(version.version)
        if alias not in (LIVE, PREVIOUS)
    ]
    return Markup("<h2>Aliases</h2>{}{}").format(
        html.field_action(setting, links, field="alias", label="Name", most=MAX_NAME_CHARS),
        html.actions(removing, links) if removing else "",
    )


def _metrics(version: ModelVersion) -> Markup:
    rows = [(name, plain(value)) for name, value in sorted(version.metrics.items())]
    return Markup("<h2>Metrics</h2>{}").format(
        table("When it was added", ["metric", Column("value", numeric=True)], rows)
    )


def _lineage(overview: Overview, version: ModelVersion, links: Links) -> Markup:
    pairs: list[tuple[str, object]] = [
        (each.kind, html.link(links.to(each.path), each.text) if each.path else each.text)
        for each in origins_of(version, known_names(overview))
    ]
    pairs += [(name, value) for name, value in lineage_facts(version) if name not in _LINKED]
    return Markup("<h2>Where it comes from</h2>{}").format(facts(pairs))


def known_names(overview: Overview) -> Known:
    """What the lineage of a version can be linked to: what is there."""
    jobs = overview.jobs().value or ()
    return Known(
        jobs=frozenset(job.name for job in jobs),
        searches=frozenset(job.search for job in jobs if job.search),
        data={each.path: each.key for each in overview.datasets().value or ()},
    )


def _settings(version: ModelVersion) -> Markup:
    rows = [(name, str(value)) for name, value in sorted(version.lineage.config.items()) if value is not None]
    return Markup("<h2>Training settings</h2>{}").format(table("Settings", ["name", "value"], rows))
