"""Delete the endpoint, or keep it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breedclf.journey.record import Outcome
from breedclf.journey.step import Alone, JourneyContext, Step


class CleanUp(Step):
    """Delete the endpoint unless it is to be kept; models and reports stay."""

    name = "clean-up"
    title = "Clean up"
    this_run = True

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        return {"keep": context.settings.keep}

    def run(self, context: JourneyContext) -> Outcome:
        endpoint = context.endpoint
        assert endpoint is not None
        if context.settings.keep:
            return Outcome(headline=f"The endpoint {endpoint.name} stays in service at {endpoint.url}.")
        endpoint.delete()
        context.endpoint = None
        return Outcome(headline=f"The endpoint {endpoint.name} is deleted; models and reports stay.")

    def alone(self, context: JourneyContext) -> Alone:
        name = context.found("deploy").get("endpoint", "NAME")
        return Alone("endpoint.delete()", f"breedclf endpoints delete {name}")
