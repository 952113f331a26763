"""Delete the endpoint, or keep it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from breedclf.journey.record import Outcome
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.deploy import endpoint_of
from breedclf.journey.steps.shown import backend_flag, backend_python, command


class CleanUp(Step):
    """Delete the endpoint of this run unless it is to be kept; models and reports stay."""

    name = "clean-up"
    title = "Clean up"
    needs: ClassVar[tuple[str, ...]] = ("deploy",)
    this_run = True

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        return {"keep": context.settings.keep}

    def run(self, context: JourneyContext) -> Outcome:
        endpoint = endpoint_of(context)
        url = f" at {endpoint.url}" if endpoint.url else ""
        if context.settings.keep:
            return Outcome(headline=f"The endpoint {endpoint.name} stays in service{url}.")
        if context.endpoint is None:
            return Outcome(headline=f"The endpoint {endpoint.name} was there before, and stays in service{url}.")
        endpoint.delete()
        context.endpoint = None
        return Outcome(headline=f"The endpoint {endpoint.name} is deleted; models and reports stay.")

    def alone(self, context: JourneyContext) -> Alone:
        name = context.found("deploy")["endpoint"]
        return Alone(
            f"Deployment.attach({name!r}{backend_python(context.backend)}).delete()",
            command("breedclf", "endpoints", "delete", name, flags=backend_flag(context.backend, serving=True)),
        )
