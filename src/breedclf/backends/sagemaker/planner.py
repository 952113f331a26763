"""`backend.plan(...)`: what a job, a search or an endpoint would create, cost and need; nothing is created."""

from __future__ import annotations

import sys
from dataclasses import replace

from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.cost.estimate import require_affordable
from breedclf.backends.sagemaker.cost.networks import network_note
from breedclf.backends.sagemaker.endpoints.preparation import EndpointRequests
from breedclf.backends.sagemaker.training.preparation import TrainingRequests
from breedclf.backends.sagemaker.training.request import vpc_note
from breedclf.backends.sagemaker.tuning.jobs import TuningJobs
from breedclf.config.hyperparameters import decode
from breedclf.errors import ConfigError
from breedclf.jobs import JobSpec
from breedclf.jobs.endpoints import EndpointSpec
from breedclf.jobs.plan import ApiCall, Plan
from breedclf.tuning.native import NativeSearch
from breedclf.tuning.network_weights import searched_architectures

Plannable = JobSpec | NativeSearch | EndpointSpec


class Planner:
    """Plans jobs, searches and endpoints."""

    def __init__(
        self, context: AwsContext, training: TrainingRequests, tuning: TuningJobs, endpoints: EndpointRequests
    ) -> None:
        self._context = context
        self._training = training
        self._tuning = tuning
        self._endpoints = endpoints

    def plan(self, what: Plannable, *, dry_run: bool = False) -> Plan:
        """Resources, maximum cost and quotas; nothing is uploaded or sent.

        Args:
            what: a job, a search or an endpoint.
            dry_run: also print the exact requests as JSON, which `plan.requests()` returns as well.

        Raises:
            ConfigError: a request is invalid, or `max_cost` is set and the cost may exceed it.
        """
        seconds = what.ttl_seconds if isinstance(what, EndpointSpec) else None
        plan = self._context.estimate(self._calls(what), seconds=seconds)
        plan = replace(plan, hints=(*plan.hints, *self._notes(what)))
        if dry_run:
            sys.stdout.write(plan.requests() + "\n")
        require_affordable(plan, self._context.settings.max_cost)
        return plan

    def _notes(self, what: Plannable) -> list[str]:
        """What the networks of a job or a search cost, and what a job in a VPC needs to get their weights."""
        spec = what.job if isinstance(what, NativeSearch) else what
        if not isinstance(spec, JobSpec) or spec.source is not None or "architecture" not in spec.hyperparameters:
            return []
        searched = searched_architectures(what.space) if isinstance(what, NativeSearch) else ()
        names = searched or (str(decode(spec.hyperparameters["architecture"])),)
        note = vpc_note(spec, self._context.settings)
        return [network_note(names), *([] if note is None else [note])]

    def _calls(self, what: Plannable) -> list[ApiCall]:
        if isinstance(what, JobSpec):
            return [ApiCall("CreateTrainingJob", self._training.planned(what))]
        if isinstance(what, NativeSearch):
            return [self._tuning.planned_call(what)]
        if isinstance(what, EndpointSpec):
            return self._endpoints.planned(what)
        raise ConfigError(f"plan() takes a job, a search or an endpoint, not {type(what).__name__}")
