"""Endpoints on SageMaker: create, describe, update and delete them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws_errors import may_be_taken, may_have_ended, translate_aws_errors, was_retried
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.endpoints.end_schedule import EndSchedule
from breedclf.backends.sagemaker.endpoints.figures import EndpointFigures
from breedclf.backends.sagemaker.endpoints.generations import create_with_model
from breedclf.backends.sagemaker.endpoints.inspector import EndpointInspector, no_endpoint
from breedclf.backends.sagemaker.endpoints.memory import check_memory
from breedclf.backends.sagemaker.endpoints.preparation import EndpointRequests, validated_calls
from breedclf.backends.sagemaker.endpoints.request import (
    MACHINE_BODY_BYTES,
    SERVERLESS_BODY_BYTES,
    Generation,
    check_spec,
    update_request,
)
from breedclf.backends.sagemaker.endpoints.served_model import ServedModel
from breedclf.backends.sagemaker.endpoints.state import CHANGING, Step, expires_tag, tried_tag, view_of
from breedclf.backends.sagemaker.tags import TAG
from breedclf.errors import BreedclfError, ConfigError, EndpointError
from breedclf.jobs.endpoints import EndpointDescription, EndpointSpec, EndpointStatus, EndpointTerms

log: logging.Logger = logging.getLogger(__name__)

_START_SECONDS, _END_SECONDS = 2_400.0, 600.0
_CONSISTENT_SECONDS = 60.0  # AWS is eventually consistent
_OLDEST_FIRST = {"SortBy": "CreationTime", "SortOrder": "Ascending"}


class Endpoints:
    """The endpoints of one account and region; further state is stored in tags, so any process may use them."""

    def __init__(self, context: AwsContext, requests: EndpointRequests) -> None:
        self._context = context
        self._requests = requests
        self._inspector = EndpointInspector(context)
        self.figures: EndpointFigures = EndpointFigures(context, self._inspector)
        self._ends = EndSchedule(context)
        self._just_created: dict[str, float] = {}

    @property
    def terms(self) -> EndpointTerms:
        """Timeouts in minutes, since machines start slowly, and the smaller request limit of serverless endpoints."""
        settings = self._context.settings
        return EndpointTerms(
            poll_seconds=settings.poll_seconds,
            start_seconds=_START_SECONDS,
            end_seconds=_END_SECONDS,
            max_body_bytes=SERVERLESS_BODY_BYTES if settings.serverless_memory_mb else MACHINE_BODY_BYTES,
        )

    def create(self, spec: EndpointSpec) -> None:
        """Upload the model, unless S3 has it, and create the endpoint.

        Raises:
            ConfigError: the name is taken, or SageMaker doesn't support the settings.
            ArtifactError: the folder contains no model.
            EndpointError: SageMaker refuses, for instance because of a quota.
        """
        context, name = self._context, spec.name
        check_spec(spec)
        expires = self._requests.expiry(spec)
        image = self._requests.image()
        if self._inspector.described(name) is not None:
            raise _taken(name)
        check_memory(spec.artifact, context.settings)
        with ServedModel.packed(spec.artifact, context.uri("models")) as served:
            generation, request = self._requests.endpoint(spec, image, served.uri, expires, owned=True)
            calls = validated_calls(generation, "CreateEndpoint", request, context.region)
            context.require_affordable(calls, seconds=spec.ttl_seconds)
            context.check_bucket()
            served.upload(context.storage)
        self._schedule_end(name, expires)
        with translate_aws_errors(f"creating endpoint {name}", as_=EndpointError):
            try:
                create_with_model(
                    context.clients("sagemaker"),
                    generation,
                    lambda: self._create(request),
                    lambda: self._serves(name, generation),
                    context.clock,
                )
            except ClientError as error:
                if may_be_taken(error) and self._inspector.described(name) is not None:
                    raise _taken(name) from error
                self._ends.cancel(name)
                raise
        self._just_created[name] = context.clock.monotonic()
        if spec.ttl_seconds is not None and not self._ends.is_enabled:
            log.warning(
                "AWS doesn't delete endpoint %s when it expires: run `breedclf endpoints reap --backend sagemaker` "
                "from a timer, or set endpoint_end_role to have EventBridge Scheduler delete it",
                name,
            )

    def describe(self, name: str) -> EndpointDescription:
        """The current description; checks the answers of a new generation, which is in service once they are correct.

        Raises:
            EndpointError: there is no such endpoint.
        """
        found = self._inspector.described(name)
        clock = self._context.clock
        if found is None:
            if clock.monotonic() - self._just_created.get(name, float("-inf")) < _CONSISTENT_SECONDS:
                return EndpointDescription(name, EndpointStatus.CREATING, clock.time())
            raise no_endpoint(name, self._context.region)
        self._just_created.pop(name, None)
        answer, tags = found
        view = view_of(answer, tags)
        if view.step is Step.CHECK:
            view = view_of(answer, {**tags, **self._inspector.check_answers(view)})
        if view.step is Step.ROLL_BACK:
            self._inspector.roll_back(view)
        return view.description

    def list_all(self) -> list[EndpointDescription]:
        """All endpoints that breedclf created here, oldest first; no predictions are requested."""
        with translate_aws_errors("listing endpoints", as_=BreedclfError):
            pages = self._context.clients("sagemaker").get_paginator("list_endpoints")
            found = [each for page in pages.paginate(**_OLDEST_FIRST) for each in page["Endpoints"]]
            ours = [each["EndpointName"] for each in found if TAG in self._context.resource_tags(each["EndpointArn"])]
        return [view.description for name in ours if (view := self._inspector.view(name)) is not None]

    def update(self, name: str, artifact: Path) -> int:
        """Start to replace the model; the previous one stays if the new one doesn't start or answers incorrectly.

        The new model serves requests between SageMaker's switch and the end of the check.

        Raises:
            EndpointError: there is no such endpoint, it isn't in service, or breedclf didn't create it.
            ArtifactError: the folder contains no model.
            ConfigError: SageMaker doesn't support the settings, or can't change the endpoint to this type.
        """
        context = self._context
        status = self.describe(name).status
        if status is not EndpointStatus.IN_SERVICE:
            raise EndpointError(f"endpoint {name} is {status}; it can be updated once it is InService")
        view = self._inspector.own_view(name)
        if view.is_serverless != bool(context.settings.serverless_memory_mb):
            have, want = ("is", "a machine") if view.is_serverless else ("isn't", "serverless_memory_mb")
            raise ConfigError(
                f"endpoint {name} {have} serverless, but these settings specify {want}; SageMaker can't convert an "
                "endpoint and roll it back: deploy another endpoint"
            )
        number = view.newest + 1
        image = self._requests.image()
        check_memory(artifact, context.settings)
        with ServedModel.packed(artifact, context.uri("models")) as served:
            generation = self._requests.generation(name, number, image, served.uri, owned=True)
            request = update_request(name, generation.name)
            expires = view.description.expires
            context.require_affordable(
                validated_calls(generation, "UpdateEndpoint", request, context.region),
                seconds=None if expires is None else expires - context.clock.time(),
                replaced=lambda: self._config(view.config),
            )
            context.check_bucket()
            served.upload(context.storage)
        with translate_aws_errors(f"updating endpoint {name}", as_=EndpointError):
            client = context.clients("sagemaker")
            create_with_model(
                client,
                generation,
                lambda: self._unless_started(name, lambda: client.update_endpoint(**request)),
                lambda: self._serves(name, generation),
                context.clock,
            )
        self._inspector.tag(view, tried_tag(number, view.modified))
        return number

    def delete(self, name: str) -> None:
        """Delete the endpoint with its models and configurations; the model archives stay in S3.

        Raises:
            EndpointError: there is no such endpoint, breedclf didn't create it, or SageMaker is changing it; in that
                case it is marked as expired.
        """
        view = self._inspector.own_view(name)
        with translate_aws_errors(f"deleting endpoint {name}", as_=EndpointError):
            try:
                self._context.clients("sagemaker").delete_endpoint(EndpointName=name)
            except ClientError as error:
                found = self._inspector.described(name) if may_have_ended(error) else None
                if found is None and not may_have_ended(error):
                    raise
                status = found[0]["EndpointStatus"] if found else "Deleting"
                if status not in CHANGING:
                    raise
                if status != "Deleting":
                    self._inspector.tag(view, expires_tag(self._context.clock.time()))
                    raise EndpointError(
                        f"endpoint {name} is {status}, and SageMaker can't delete it now; it is marked as expired, so "
                        "`breedclf endpoints reap --backend sagemaker` will delete it later"
                    ) from error
        self._just_created.pop(name, None)
        self._ends.cancel(name)
        self._inspector.delete_generations(name, lambda _: True)

    def reap(self) -> list[str]:
        """Delete failed and expired endpoints; returns their names."""
        now = self._context.clock.time()
        deleted = []
        for each in [each for each in self.list_all() if _is_over(each, now)]:
            try:
                self.delete(each.name)
            except EndpointError as error:
                log.warning("%s", error)
            else:
                deleted.append(each.name)
        return deleted

    def invoke(
        self, name: str, body: bytes, *, content_type: str, timeout_seconds: float = 60, attributes: str = ""
    ) -> bytes:
        """Send a request; see `EndpointInspector.invoke`."""
        return self._inspector.invoke(
            name, body, content_type=content_type, timeout_seconds=timeout_seconds, attributes=attributes
        )

    def _schedule_end(self, name: str, expires: float | None) -> None:
        """Have AWS delete the endpoint; called before it is created."""
        if expires is None or not self._ends.is_enabled:
            return
        while not self._ends.set(name, expires):
            if self._inspector.described(name) is not None:
                raise _taken(name)
            self._ends.cancel(name)  # left over from an earlier endpoint of this name

    def _config(self, name: str) -> Mapping[str, Any]:
        with translate_aws_errors(f"describing endpoint configuration {name}", as_=EndpointError):
            client = self._context.clients("sagemaker")
            found: Mapping[str, Any] = client.describe_endpoint_config(EndpointConfigName=name)
            return found

    def _create(self, request: Mapping[str, Any]) -> None:
        """Create the endpoint; if boto3 sent the request twice after a lost response, it already exists."""
        try:
            self._context.clients("sagemaker").create_endpoint(**request)
        except ClientError as error:
            found = self._inspector.described(request["EndpointName"]) if may_be_taken(error) else None
            is_same = found is not None and found[0]["EndpointConfigName"] == request["EndpointConfigName"]
            if not (is_same and was_retried(error)):
                raise

    def _serves(self, name: str, generation: Generation) -> bool:
        """Whether the endpoint uses this generation, whoever requested it; True if that can't be determined."""
        try:
            found = self._inspector.described(name)
        except BreedclfError:
            return True
        return found is not None and found[0].get("EndpointConfigName") == generation.name

    def _unless_started(self, name: str, change: Callable[[], object]) -> None:
        """Change an endpoint; if boto3 sent the request twice after a lost response, the change is in progress."""
        try:
            change()
        except ClientError as error:
            if not (may_have_ended(error) and was_retried(error) and self._inspector.is_changing(name)):
                raise


def _is_over(endpoint: EndpointDescription, now: float) -> bool:
    expired = endpoint.expires is not None and endpoint.expires <= now
    return expired or endpoint.status is EndpointStatus.FAILED


def _taken(name: str) -> ConfigError:
    return ConfigError(
        f"endpoint name {name!r} is taken; update that endpoint, delete it "
        f"(`breedclf endpoints delete {name} --backend sagemaker`), or choose another name"
    )
