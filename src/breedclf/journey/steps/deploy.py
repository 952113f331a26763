"""Deploy the model as an endpoint, and make it the live version."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from breedclf.api.deployment import Deployment
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.model_store.gate import Gate
from breedclf.model_store.store import ModelStore


class Deploy(Step):
    """Serve the model; its predictions are compared with the classifier's first."""

    name = "deploy"
    title = "Deploy"
    this_run = True

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        return {"keep": context.settings.keep}

    def run(self, context: JourneyContext) -> Outcome:
        settings, found = context.settings, context.found("register")
        store = ModelStore(settings.store)
        folder = store.model_directory(found["name"], found["version"])
        context.endpoint = Deployment(folder, context.backend, detach=settings.keep).deploy()
        gate = Gate(baseline=0, max_drop=None)  # the step before has decided
        store.promote(found["name"], found["version"], gate=gate, alias_only=True, reason="journey")
        if settings.keep:
            store.serve_with(found["name"], context.endpoint.name, context.endpoint.backend.name)
        url = context.endpoint.url
        return Outcome(
            headline=f"The endpoint {context.endpoint.name} is in service{f' at {url}' if url else ''}.",
            values={"endpoint": context.endpoint.name, "url": url},
            figures=(Figure(label="Endpoint", value=context.endpoint.name, note=url or ""),),
        )

    def alone(self, context: JourneyContext) -> Alone:
        found = context.found("register")
        folder = _folder(context, found)
        return Alone(f"Deployment({str(folder)!r}).deploy()", f"breedclf deploy {shlex.quote(str(folder))}")


def _folder(context: JourneyContext, found: Mapping[str, Any]) -> Path:
    return ModelStore(context.settings.store).model_directory(found["name"], found["version"])
