"""One endpoint: its state, requests and latency over the last hour, cost, a photo to try, and how to delete it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Action, Content, Fragment, Links, Parameters
from breedclf.console.pages.endpoints import model_of
from breedclf.errors import EndpointError
from breedclf.jobs.endpoint_activity import ACTIVITY_MINUTES, ActivityMinute, EndpointActivity, EndpointCost
from breedclf.jobs.endpoints import EndpointStatus
from breedclf.overview.endpoints import EndpointView
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import Tile, callout, facts, tiles
from breedclf.reporting.charts import Series, line_chart
from breedclf.reporting.formats import percent, whole
from breedclf.serving.http.web_page import page_part


class EndpointPage:
    """`/endpoints/{name}`"""

    path: ClassVar[str] = "/endpoints/{name}"
    label: ClassVar[str] = ""

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        name = parameters["name"]
        look = overview.endpoint(name)
        endpoint, backend = look.found(EndpointError), overview.backend.name
        minute = int(overview.clock.time() // 60)
        return Content(
            name,
            [
                Fragment("problem", html.problem(look)),
                Fragment("state", _state(endpoint, backend, links)),
                Fragment("try", _try(endpoint, backend, links)),
                Fragment("requests", _requests(endpoint)),
                Fragment("charts", _charts(endpoint.activity, minute)),
            ],
            Markup("Endpoint on {}").format(overview.label),
            endpoint.status,
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        return [{"name": each.name} for each in overview.endpoints().value or ()]


def _state(endpoint: EndpointView, backend: str, links: Links) -> Markup:
    found = endpoint.description
    pairs: list[tuple[str, object]] = [
        ("status", html.badge(endpoint.status)),
        ("model", model_of(endpoint, links)),
        ("engine", endpoint.engine or "–"),
        ("URL", Markup("<code>{}</code>").format(found.url) if found.url else "–"),
        ("created", html.moment(found.created)),
        ("time to live", html.left(found.expires) if found.expires is not None else "until it is deleted"),
    ]
    if endpoint.idle_ends is not None:
        pairs.append(("ends without requests", html.left(endpoint.idle_ends)))
    if endpoint.cost is not None:
        pairs += _cost(endpoint.cost)
    if found.details.get("restarts"):
        pairs.append(("restarts", found.details["restarts"]))
    return Markup("<h2>State</h2>{}{}{}").format(
        _reason(endpoint), facts(pairs), html.actions([_delete(endpoint, backend)], links)
    )


def _reason(endpoint: EndpointView) -> Markup:
    reason = endpoint.description.failure_reason
    if endpoint.description.rolled_back:
        return callout("issue", "The last update was rolled back; the previous model answers", reason or "")
    if not reason:
        return Markup("")
    if endpoint.description.status is EndpointStatus.DELETING:
        return callout("info", "It is being deleted", reason)
    return callout("bad", "Why it failed", reason)


def _cost(cost: EndpointCost) -> list[tuple[str, object]]:
    so_far = "–" if cost.usd is None else f"${cost.usd:,.2f}"
    rate = "" if cost.usd_per_hour is None else f", ${cost.usd_per_hour:,.3f} an hour"
    return [("machines", cost.machines), ("cost so far", f"{so_far}{rate}{cost.note and f' ({cost.note})'}")]


def _delete(endpoint: EndpointView, backend: str) -> Action:
    name = endpoint.name
    return Action(
        "delete-endpoint",
        "Delete",
        {"name": name},
        ["breedclf", "endpoints", "delete", name, "--backend", backend],
        f"Delete {name}? It answers what it has accepted; then nobody can reach it any more.",
    )


def _try(endpoint: EndpointView, backend: str, links: Links) -> Markup:
    """Where an image is chosen; it stays the same while the endpoint answers, so that an answer isn't lost."""
    why = "It can be tried once it is in service." if endpoint.description.status is EndpointStatus.CREATING else ""
    return html.render(
        "try.html.j2",
        name=endpoint.name,
        may_try=endpoint.serves and links.is_live and links.may_act,
        choice=Markup(page_part("choice")),  # the project's own file
        answer=Markup(page_part("answer")),
        why=why or ("" if endpoint.serves else "It gives no answers now."),
        code=html.code(
            shlex.join(["breedclf", "predict", "--endpoint", endpoint.name, "--backend", backend, "dog.jpg"]),
            label="Command",
        ),
    )


def _requests(endpoint: EndpointView) -> Markup:
    heading = Markup("<h2>Requests in the last hour</h2>{}")
    activity = endpoint.activity
    if endpoint.problems:
        why = callout("issue", "Some figures are missing", *endpoint.problems)
        return heading.format(why) if activity is None else heading.format(why + _figures(activity))
    if activity is None:
        return heading.format(Markup("<p>This backend doesn't count them.</p>"))
    return heading.format(_figures(activity))


def _figures(activity: EndpointActivity) -> Markup:
    last = activity.last_request
    if not activity.requests:
        when = Markup("; the last one was {}").format(html.moment(last)) if last is not None else ""
        return Markup("<p>None{}.</p>").format(when)
    errors = activity.client_errors + activity.server_errors
    refused = f"{whole(activity.client_errors)} refused, {whole(activity.server_errors)} failed"
    found = [
        Tile("requests", whole(activity.requests), "" if activity.is_complete else "the latest; there were more"),
        Tile("error rate", percent(activity.error_rate or 0.0), refused if errors else ""),
    ]
    last_minute = activity.minutes[-1].latency if activity.minutes else None
    if activity.latency is None and last_minute is not None:
        note = "in the last minute with requests"
        found += [
            Tile("median latency", _milliseconds(last_minute.p50), note),
            Tile("99% are faster than", _milliseconds(last_minute.p99), note),
        ]
    if activity.latency is not None:
        found += [
            Tile("median latency", _milliseconds(activity.latency.p50), "in the model's server"),
            Tile("90% are faster than", _milliseconds(activity.latency.p90)),
            Tile("99% are faster than", _milliseconds(activity.latency.p99)),
        ]
    return tiles(found)


def _milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def _charts(activity: EndpointActivity | None, minute: int) -> Markup:
    """Requests a minute and latencies over the last hour, which ends with this minute since 1970."""
    if activity is None or not activity.minutes:
        return Markup("")
    ago = list(range(1 - ACTIVITY_MINUTES, 1))
    found = {int(each.start // 60) - minute: each for each in activity.minutes}
    slots = [found.get(each) for each in ago]
    counts = line_chart(
        "Requests a minute",
        [
            Series("requests", ago, [0 if each is None else each.requests for each in slots]),
            Series("errors", ago, [0 if each is None else each.client_errors + each.server_errors for each in slots]),
        ],
        x_label="minutes from now",
        from_zero=True,
        whole_x=True,
    )
    latencies = line_chart(
        "Latency",
        [
            Series("median", ago, [_latency(each, "p50") for each in slots]),
            Series("99%", ago, [_latency(each, "p99") for each in slots]),
        ],
        x_label="minutes from now",
        y_label="milliseconds",
        from_zero=True,
        whole_x=True,
    )
    return Markup('<h2>Over time</h2><div class="blocks">{}</div>').format(counts + latencies)


def _latency(minute: ActivityMinute | None, name: str) -> float:
    return float("nan") if minute is None or minute.latency is None else float(getattr(minute.latency, name))
