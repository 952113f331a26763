"""Deploy the model as an endpoint, and make it the live version."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from breedclf.api.deployment import Deployment, serving_backend
from breedclf.api.endpoint import Endpoint
from breedclf.errors import ConfigError, EndpointError
from breedclf.jobs import PlanningBackend
from breedclf.jobs.endpoints import EndpointSpec, EndpointStatus
from breedclf.jobs.plan import Plan
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.settings import JourneySettings
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.shown import backend_flag, backend_python, command
from breedclf.model_store.gate import Gate
from breedclf.model_store.records import LIVE, EndpointOfModel
from breedclf.model_store.store import ModelStore

_GATE_IS_DONE = Gate(baseline=0, max_drop=None)


class Deploy(Step):
    """Serve the model; its predictions are compared with the classifier's first.

    An endpoint in service that the store knows of is updated, and otherwise one is deployed.
    """

    name = "deploy"
    title = "Deploy"
    needs: ClassVar[tuple[str, ...]] = ("register",)
    this_run = True

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        return {"keep": context.settings.keep, "endpoint": context.settings.endpoint}

    def intent(self, context: JourneyContext) -> Mapping[str, Any]:
        """The endpoint's name, so that the one of a killed run is found; a chosen name may be that of another."""
        before, name = context.found(self.name), endpoint_name(context.settings)
        is_own = not context.settings.endpoint or (before.get("endpoint") == name and before.get("is_own") is True)
        return {"endpoint": name, "is_own": is_own or not _exists(Endpoint(name, serving_backend(context.backend)))}

    def run(self, context: JourneyContext) -> Outcome:
        settings, found, intent = context.settings, context.found("register"), context.found(self.name)
        store = ModelStore(settings.store)
        known = store.record(found["name"]).endpoint
        served = None if known is None else in_service(known, context)
        if served is not None:
            return _update(store, context, served)
        gone = "" if known is None else f" The store's endpoint {known.name} is gone, so one was deployed again."
        left = Endpoint(intent["endpoint"], serving_backend(context.backend))
        if intent["is_own"] and _exists(left):  # of a run that was killed
            left.delete()
        folder = store.model_directory(found["name"], found["version"])
        deployment = Deployment(folder, context.backend, name=intent["endpoint"], detach=settings.keep)
        context.endpoint = deployment.deploy()
        store.promote(found["name"], found["version"], gate=_GATE_IS_DONE, alias_only=True, reason="journey")
        if settings.keep:
            store.serve_with(found["name"], context.endpoint.name, context.endpoint.backend.name)
        return _outcome(context.endpoint, gone)

    def cost(self, context: JourneyContext) -> Plan | None:
        model = context.folder / "model"
        if not isinstance(context.backend, PlanningBackend) or not model.is_dir():
            return None
        plan: Plan = context.backend.plan(EndpointSpec(endpoint_name(context.settings), model))
        return plan

    def alone(self, context: JourneyContext) -> Alone:
        folder, name = str(_folder(context)), context.found(self.name)["endpoint"]
        backend = context.backend
        flags = {"name": name, **backend_flag(backend, serving=True)}
        return Alone(
            f"Deployment({folder!r}{backend_python(backend)}, name={name!r}).deploy()",
            command("breedclf", "deploy", folder, flags=flags),
        )


def endpoint_name(settings: JourneySettings) -> str:
    """The name of the journey's endpoint; by default that of the model, and a digest of the output folder's path.

    Example:
        >>> from breedclf import TrainingConfig
        >>> endpoint_name(JourneySettings(training=TrainingConfig(data="dogs"), output="/runs/journey"))
        'dogs-efe0ccf0'
    """
    if settings.endpoint:
        return settings.endpoint
    words = re.sub(r"[^A-Za-z0-9]+", "-", settings.model_name).strip("-")[:40].strip("-") or "model"
    return f"{words}-{hashlib.sha256(str(settings.output.absolute()).encode()).hexdigest()[:8]}"


def in_service(known: EndpointOfModel, context: JourneyContext) -> Endpoint | None:
    """The endpoint that the store names, if it is in service on the journey's backend."""
    backend = serving_backend(context.backend)
    if known.backend != backend.name:
        return None
    endpoint = Endpoint(known.name, backend)
    try:
        return endpoint if endpoint.status is EndpointStatus.IN_SERVICE else None
    except EndpointError:
        return None


def endpoint_of(context: JourneyContext) -> Endpoint:
    """The endpoint of this run, or one that an earlier run kept.

    Raises:
        ConfigError: there is none in service.
    """
    if context.endpoint is not None:
        return context.endpoint
    name = context.found("deploy").get("endpoint", "")
    backend = serving_backend(context.backend)
    found = in_service(EndpointOfModel(name=name, backend=backend.name), context) if name else None
    if found is None:
        raise ConfigError(
            f"endpoint {name or 'of the journey'} isn't in service: repeat the command with --from deploy"
        )
    return found


def _update(store: ModelStore, context: JourneyContext, served: Endpoint) -> Outcome:
    """Let an endpoint in service serve the new version, without a failed request."""
    found = context.found("register")
    record = store.record(found["name"])
    if record.aliases.get(LIVE) == found["version"] and record.promoting is None:
        return _outcome(served, " It served this version already.")
    store.promote(found["name"], found["version"], gate=_GATE_IS_DONE, endpoint=served, reason="journey")
    return _outcome(served, " It was updated without a failed request.")


def _outcome(endpoint: Endpoint, more: str) -> Outcome:
    url = endpoint.url
    return Outcome(
        headline=f"The endpoint {endpoint.name} is in service{f' at {url}' if url else ''}.{more}",
        values={"endpoint": endpoint.name, "url": url, "is_own": True},
        figures=(Figure(label="Endpoint", value=endpoint.name, note=url or ""),),
    )


def _exists(endpoint: Endpoint) -> bool:
    try:
        endpoint.describe()
    except EndpointError:
        return False
    return True


def _folder(context: JourneyContext) -> Path:
    found = context.found("register")
    return ModelStore(context.settings.store).model_directory(found["name"], found["version"])
