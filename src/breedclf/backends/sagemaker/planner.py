"""`backend.plan(...)`: what a job, a search or an endpoint would make, cost and need, without making any of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol

from breedclf.backends.sagemaker.api_call import ApiCall
from breedclf.backends.sagemaker.context import Place
from breedclf.backends.sagemaker.plan import Plan
from breedclf.errors import ConfigError
from breedclf.jobs import JobSpec
from breedclf.jobs.endpoints import EndpointSpec
from breedclf.tuning.native import NativeSearch


class _Requests(Protocol):
    """The requests that the other parts of the back end make."""

    def request_for(self, spec: JobSpec) -> dict[str, Any]: ...

    def tuning_call(self, search: NativeSearch) -> ApiCall: ...

    def requests_for_endpoint(self, spec: EndpointSpec) -> Mapping[str, Mapping[str, Any]]: ...


class Planning(Place):
    """Plans what the back end would do."""

    def plan(self, what: JobSpec | NativeSearch | EndpointSpec, *, dry_run: bool = False) -> Plan:
        """What would be made, an upper bound of its cost, and the quotas it needs; nothing is uploaded or sent.

        Args:
            what: a job, a search or an endpoint, as its back end gets it.
            dry_run: whether the exact requests are printed, too, as JSON; `plan.requests()` gives the same text.

        Raises:
            ConfigError: a request breaks the service's own rules, or `max_cost` is set and it may cost more.
        """
        calls, seconds = _calls(self, what)
        plan = self.plan_of(calls, seconds=seconds)
        if dry_run:
            sys.stdout.write(plan.requests() + "\n")
        plan.refuse_above(self.settings.max_cost)
        return plan


def _calls(backend: Any, what: JobSpec | NativeSearch | EndpointSpec) -> tuple[list[ApiCall], float | None]:
    parts: _Requests = backend
    if isinstance(what, JobSpec):
        return [ApiCall("CreateTrainingJob", parts.request_for(what))], None
    if isinstance(what, NativeSearch):
        return [parts.tuning_call(what)], None
    if isinstance(what, EndpointSpec):
        made = parts.requests_for_endpoint(what)
        return [ApiCall(operation, request) for operation, request in made.items()], what.ttl_seconds
    raise ConfigError(f"a job, a search or an endpoint can be planned, not {type(what).__name__}")
