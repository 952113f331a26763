"""Two versions of a model side by side: what differs, and whether one is better on the same images."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Action, Fragment, Links, Parameters
from breedclf.console.stored_commands import compare_command
from breedclf.console.task_parts import tasks_part
from breedclf.console.thumbnails import Thumbnail, thumbnails
from breedclf.errors import ConfigError
from breedclf.model_store.comparison import FlippedImage, ModelComparison
from breedclf.model_store.comparison_parts import SHOWN, by_class, figures, headline, spread, verdict_of
from breedclf.model_store.records import PREVIOUS, ModelRecord, ModelVersion
from breedclf.overview.comparisons import COMPARE, RecordedComparison, subject_of
from breedclf.overview.datasets import DatasetView
from breedclf.overview.models import data_of, differences
from breedclf.overview.overview import Overview
from breedclf.overview.whole_paths import whole_path
from breedclf.reporting.blocks import Column, callout, details, table, tiles
from breedclf.reporting.formats import plain, whole
from breedclf.reporting.page import Section, as_block

_DATASETS = 4
_ROWS = 200


def comparison_parts(overview: Overview, record: ModelRecord, parameters: Parameters, links: Links) -> list[Fragment]:
    """The choice of two versions, and, once they are chosen, what differs and what was found out by comparing them."""
    if len(record.versions) < 2:
        return []
    chosen = _chosen(record, parameters)
    fragments = [Fragment("choose", _choice(record, chosen, links))]
    if chosen is None:
        return fragments
    first, second = chosen
    if first.version == second.version:
        return [*fragments, Fragment("differences", callout("info", "Choose two different versions"))]
    tasks = overview.tasks().value or ()
    start = subject_of(record.name, first.version, second.version, "")
    comparing = [task for task in tasks if task.kind == COMPARE and task.subject.startswith(start)]
    recorded = overview.comparisons.of(record.name, first.version, second.version, tasks)
    return [
        *fragments,
        Fragment("differences", _differences(first, second)),
        Fragment("compare", html.actions(_actions(overview, record, chosen), links)),
        Fragment("comparing", tasks_part("Comparison started here", comparing, links)),
        Fragment("comparison", _compared(overview, record, chosen, recorded)),
    ]


def _chosen(record: ModelRecord, parameters: Parameters) -> tuple[ModelVersion, ModelVersion] | None:
    if not (parameters.get("a") and parameters.get("b")):
        return None
    try:
        return record.version(parameters["a"]), record.version(parameters["b"])
    except ValueError as error:  # also a number with too many digits
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"model {record.name!r} has no such version") from None


def _choice(record: ModelRecord, chosen: tuple[ModelVersion, ModelVersion] | None, links: Links) -> Markup:
    versions = [
        (each.version, " ".join([f"version {each.version}", *record.aliases_of(each.version)]))
        for each in reversed(record.versions)
    ]
    if not links.is_live:
        return Markup("")
    newest, before = record.versions[-1].version, record.versions[-2].version
    live = record.live if record.live not in (None, newest) else record.aliases.get(PREVIOUS, before)
    first, second = (live, newest) if chosen is None else (chosen[0].version, chosen[1].version)
    address, _, query = links.to(f"/models/{record.name}").partition("?")
    form = html.render(
        "compare_form.html.j2",
        address=address,
        backend=query.removeprefix("backend=") if query else "",
        choices=[("a", "This version", first), ("b", "with", second)],
        versions=versions,
    )
    return Markup("<h2>Compare two versions</h2>{}").format(form)


def _differences(first: ModelVersion, second: ModelVersion) -> Markup:
    found = differences(first, second)
    names = [f"version {first.version}", f"version {second.version}"]
    settings = [(name, _shown(before), _shown(after)) for name, (before, after) in found.settings.items()]
    metrics = [
        (name, None if before is None else plain(before), None if after is None else plain(after))
        for name, before, after in found.metrics
    ]
    return Markup("<h2>What differs</h2>{}{}").format(
        table("Training settings", ["setting", *names], settings, empty="The same settings."),
        table("Metrics", ["metric", *(Column(name, numeric=True) for name in names)], metrics),
    )


def _actions(overview: Overview, record: ModelRecord, chosen: tuple[ModelVersion, ModelVersion]) -> list[Action]:
    """A button for each dataset on this machine on which the two can be compared, those of their training first."""
    first, second = chosen
    actions = []
    for dataset in datasets_for(overview, record, chosen)[:_DATASETS]:
        command = compare_command(overview.places.store, record.name, first.version, second.version, dataset.path)
        fields = {
            "name": record.name,
            "first": str(first.version),
            "second": str(second.version),
            "data": dataset.key,
        }
        actions.append(Action("compare-models", f"Compare on {dataset.name}", fields, command))
    return actions


def datasets_for(overview: Overview, record: ModelRecord, versions: Sequence[ModelVersion]) -> list[DatasetView]:
    """The datasets on this machine that fit a model: those that versions of it were trained on, these ones first."""
    by_path = {each.path: each for each in overview.datasets().value or ()}
    paths = [whole_path(path) for path in data_of(record, versions)]
    return [by_path[path] for path in dict.fromkeys(paths) if path in by_path and by_path[path].is_here]


def _compared(
    overview: Overview,
    record: ModelRecord,
    chosen: tuple[ModelVersion, ModelVersion],
    recorded: Sequence[RecordedComparison],
) -> Markup:
    if not recorded:
        return Markup("<h2>On the same images</h2><p>{}</p>").format(
            "They haven't been compared on the same images yet."
        )
    latest, comparison = recorded[0], recorded[0].comparison
    tone, heading, sentences = verdict_of(comparison)
    known = datasets_for(overview, record, chosen)
    data = latest.data or (known[0].path if known else "")
    where = Markup("Compared at {}{}.").format(html.moment(latest.time), f" on {latest.data}" if latest.data else "")
    return Markup("<h2>On the same images</h2>{}").format(
        Markup("").join(
            [
                callout(tone, heading, *sentences, where),
                tiles(headline(comparison)),
                _section(figures(comparison)),
                _flipped(overview, data, comparison, mended=True),
                _flipped(overview, data, comparison, mended=False),
                _section(by_class(comparison)),
            ]
        )
    )


def _section(section: Section) -> Markup:
    blocks = Markup("").join(as_block(block) for block in section.blocks)
    return Markup('<h3>{}</h3><div class="blocks">{}</div>').format(section.heading, blocks)


def _flipped(overview: Overview, data: str, comparison: ModelComparison, *, mended: bool) -> Markup:
    flipped = [each for each in comparison.flipped if each.mended == mended]
    right = comparison.b if mended else comparison.a
    heading = "Mended" if mended else "Broken"
    if not flipped:
        return Markup("<h3>{}</h3><p>There is no image that only {} predicts correctly.</p>").format(heading, right)
    shown = [_image(comparison, each) for each in spread(flipped)]
    rows = [(each.image, each.label, each.first, each.second) for each in flipped[:_ROWS]]
    listing = table(heading, ["image", "class", comparison.a, comparison.b], rows)
    lead = f"Images that only {right} predicts correctly."
    if len(flipped) > SHOWN:
        lead += f" {SHOWN} of {whole(len(flipped))} are shown, spread over all."
    return Markup("<h3>{}</h3><p>{}</p>{}{}").format(
        heading,
        lead,
        thumbnails(overview.images, data, shown) if data else "",
        details(_all_or_first(len(rows), len(flipped)), listing),
    )


def _all_or_first(shown: int, count: int) -> str:
    return f"All {whole(count)} as a table" if shown == count else f"The first {whole(shown)} as a table"


def _image(comparison: ModelComparison, image: FlippedImage) -> Thumbnail:
    lines = (image.label, f"{comparison.a}: {image.first}", f"{comparison.b}: {image.second}", image.image)
    return Thumbnail(image.image, lines)


def _shown(value: object) -> str | None:
    return None if value is None else str(value)
