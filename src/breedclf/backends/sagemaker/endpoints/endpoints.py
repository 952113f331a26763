"""Endpoints on SageMaker: the part of the back end that serves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.api_call import ApiCall
from breedclf.backends.sagemaker.aws import told
from breedclf.backends.sagemaker.context import TAG
from breedclf.backends.sagemaker.endpoints.end_schedule import drop_end, set_end
from breedclf.backends.sagemaker.endpoints.generations import make
from breedclf.backends.sagemaker.endpoints.request import (
    MACHINE_BODY_BYTES,
    SERVERLESS_BODY_BYTES,
    Generation,
    check_servable,
    check_spec,
    create_request,
    generation_for,
    update_request,
)
from breedclf.backends.sagemaker.endpoints.served_model import ServedModel
from breedclf.backends.sagemaker.endpoints.serving_images import serving_image
from breedclf.backends.sagemaker.endpoints.state import CHANGING, EXPIRES_TAG, Step, seen, tried_tag
from breedclf.backends.sagemaker.endpoints.view import EndpointLook, absent
from breedclf.backends.sagemaker.refusals import may_be_taken, may_have_ended, was_sent_again
from breedclf.errors import BreedclfError, ConfigError, EndpointError
from breedclf.jobs.endpoints import EndpointDescription, EndpointSpec, EndpointStatus, EndpointTerms

log: logging.Logger = logging.getLogger(__name__)

_START_SECONDS, _END_SECONDS = 2_400.0, 600.0
_CONSISTENT_SECONDS = 60.0  # AWS doesn't know everywhere at once what it was told
_OLDEST_FIRST = {"SortBy": "CreationTime", "SortOrder": "Ascending"}


class Endpoints(EndpointLook):
    """The endpoints of one account and region; what SageMaker doesn't know is in tags, so that any process may look."""

    @property
    def endpoint_terms(self) -> EndpointTerms:
        """Machines take minutes to come and go, and serverless endpoints take smaller requests."""
        return EndpointTerms(
            poll_seconds=self.settings.poll_seconds,
            start_seconds=_START_SECONDS,
            end_seconds=_END_SECONDS,
            max_body_bytes=SERVERLESS_BODY_BYTES if self.settings.serverless_memory_mb else MACHINE_BODY_BYTES,
        )

    def create_endpoint(self, spec: EndpointSpec) -> None:
        """Upload the model, unless S3 has it, and begin to serve it.

        Raises:
            ConfigError: the name is taken, or SageMaker serves nothing so.
            ArtifactError: the folder holds no model.
            EndpointError: SageMaker refuses, for instance since a quota is used up.
        """
        check_spec(spec)
        expires = None if spec.ttl_seconds is None else self._clock.time() + spec.ttl_seconds
        image = self._serving_image()
        if self._looked_at(spec.name) is not None:
            raise _taken(spec.name)
        with ServedModel.packed(spec.artifact, self.uri("models")) as served:
            generation, request = self._planned_endpoint(spec, image, served.uri, expires, owned=True)
            self.check_cost(_calls(generation, "CreateEndpoint", request, self.region), seconds=spec.ttl_seconds)
            self.check_bucket()
            served.upload(self.storage)
        self._set_end(spec.name, expires)
        with told(f"creating endpoint {spec.name}", EndpointError):
            client = self.clients("sagemaker")
            try:
                make(
                    client,
                    generation,
                    lambda: self._create_endpoint(request),
                    lambda: self._serves(spec.name, generation),
                    self._clock,
                )
            except ClientError as error:
                if may_be_taken(error) and self._looked_at(spec.name) is not None:
                    raise _taken(spec.name) from error
                self._drop_end(spec.name)
                raise
        self._just_made[spec.name] = self._clock.monotonic()
        if spec.ttl_seconds is not None and self.settings.endpoint_end_role is None:
            log.warning(
                "nothing in AWS deletes endpoint %s when its time is over: let `breedclf endpoints reap --backend "
                "sagemaker` run from a timer, or set endpoint_end_role, with which EventBridge Scheduler does it",
                spec.name,
            )

    def requests_for_endpoint(self, spec: EndpointSpec) -> dict[str, dict[str, Any]]:
        """What `create_endpoint` would send, by operation, without uploading or sending anything.

        Raises:
            ConfigError: SageMaker serves nothing so.
            ArtifactError: the folder holds no model.
        """
        check_spec(spec)
        expires = None if spec.ttl_seconds is None else self._clock.time() + spec.ttl_seconds
        with ServedModel.packed(spec.artifact, self.uri("models")) as served:
            generation, request = self._planned_endpoint(spec, self._serving_image(), served.uri, expires)
        return {
            call.operation: dict(call.parameters) for call in _calls(generation, "CreateEndpoint", request, self.region)
        }

    def describe_endpoint(self, name: str) -> EndpointDescription:
        """What SageMaker says; a new generation is in service once its answers were found right, here if need be.

        Raises:
            EndpointError: there is no such endpoint.
        """
        looked = self._looked_at(name)
        if looked is None:
            if self._clock.monotonic() - self._just_made.get(name, float("-inf")) < _CONSISTENT_SECONDS:
                return EndpointDescription(name, EndpointStatus.CREATING, self._clock.time())
            raise absent(name, self.region)
        self._just_made.pop(name, None)
        described, tags = looked
        now = seen(described, tags)
        if now.step is Step.CHECK:
            changed = self._check_answers(now)
            now = seen(described, {**tags, **changed})
        if now.step is Step.ROLL_BACK:
            self._lead_back(now)
        return now.description

    def list_endpoints(self) -> list[EndpointDescription]:
        """All endpoints that breedclf made here, the oldest first; none is asked for a prediction."""
        with told("listing endpoints", BreedclfError):
            pages = self.clients("sagemaker").get_paginator("list_endpoints")
            found = [each for page in pages.paginate(**_OLDEST_FIRST) for each in page["Endpoints"]]
            ours = [each["EndpointName"] for each in found if TAG in self.tags_of(each["EndpointArn"])]
        looked = [each for name in ours if (each := self._looked_at(name)) is not None]
        return [seen(*each).description for each in looked]

    def update_endpoint(self, name: str, artifact: Path) -> int:
        """Begin to replace the model; the one before goes on if the new one doesn't come up, or answers wrongly.

        Between SageMaker's change and the check of the answers, the new model is the one that answers.

        Raises:
            EndpointError: there is no such endpoint, it isn't in service, or breedclf didn't make it.
            ArtifactError: the folder holds no model.
            ConfigError: SageMaker serves nothing so, or doesn't turn the endpoint into one of another kind.
        """
        status = self.describe_endpoint(name).status
        if status is not EndpointStatus.IN_SERVICE:
            raise EndpointError(f"endpoint {name} is {status}; it can be updated once it is InService")
        now = self._ours(name)
        if now.is_serverless != bool(self.settings.serverless_memory_mb):
            have, wanted = ("is", "a machine") if now.is_serverless else ("isn't", "serverless_memory_mb")
            raise ConfigError(
                f"endpoint {name} {have} serverless, and these settings ask for {wanted}; SageMaker can't go from one "
                "to the other and back: deploy another endpoint"
            )
        number = now.newest + 1
        image = self._serving_image()
        with ServedModel.packed(artifact, self.uri("models")) as served:
            generation = self._generation(name, number, image, served.uri, owned=True)
            request = update_request(name, generation.name)
            left = None if now.description.expires is None else now.description.expires - self._clock.time()
            self.check_cost(
                _calls(generation, "UpdateEndpoint", request, self.region),
                seconds=left,
                replaced=lambda: self._config(now.config),
            )
            self.check_bucket()
            served.upload(self.storage)
        with told(f"updating endpoint {name}", EndpointError):
            client = self.clients("sagemaker")
            make(
                client,
                generation,
                lambda: self._unless_begun(name, lambda: client.update_endpoint(**request)),
                lambda: self._serves(name, generation),
                self._clock,
            )
        self._tag_endpoint(now, tried_tag(number, now.modified))
        return number

    def delete_endpoint(self, name: str) -> None:
        """Take the endpoint down, with the models and configurations that were made for it; their archives stay in S3.

        Raises:
            EndpointError: there is no such endpoint, breedclf didn't make it, or SageMaker is just changing it; then it
                is marked as one whose time is over.
        """
        now = self._ours(name)
        with told(f"deleting endpoint {name}", EndpointError):
            try:
                self.clients("sagemaker").delete_endpoint(EndpointName=name)
            except ClientError as error:
                looked = self._looked_at(name) if may_have_ended(error) else None
                if looked is None and not may_have_ended(error):
                    raise
                status = looked[0]["EndpointStatus"] if looked else "Deleting"
                if status not in CHANGING:
                    raise
                if status != "Deleting":
                    self._tag_endpoint(now, {EXPIRES_TAG: f"{self._clock.time():.0f}"})
                    raise EndpointError(
                        f"endpoint {name} is {status}, and SageMaker deletes none meanwhile; it is marked as over, so "
                        "that `breedclf endpoints reap --backend sagemaker` deletes it afterwards"
                    ) from error
        self._just_made.pop(name, None)
        self._drop_end(name)
        self._forget_generations(name, lambda _: True)

    def reap_endpoints(self) -> list[str]:
        """Delete the endpoints that have failed or whose time is over; return their names."""
        gone = [
            each.name
            for each in self.list_endpoints()
            if each.status is EndpointStatus.FAILED or (each.expires or float("inf")) <= self._clock.time()
        ]
        deleted = []
        for name in gone:
            try:
                self.delete_endpoint(name)
            except EndpointError as error:
                log.warning("%s", error)
            else:
                deleted.append(name)
        return deleted

    def _set_end(self, name: str, expires: float | None) -> None:
        """Have AWS end the endpoint, before there is one."""
        role = self.settings.endpoint_end_role
        if role is None or expires is None:
            return
        client = self.clients("scheduler")
        while not set_end(client, name, expires=expires, role=role):
            if self._looked_at(name) is not None:
                raise _taken(name)
            drop_end(client, name)  # an earlier endpoint of this name left it

    def _drop_end(self, name: str) -> None:
        if self.settings.endpoint_end_role is not None:
            drop_end(self.clients("scheduler"), name)

    def _config(self, name: str) -> Mapping[str, Any]:
        with told(f"describing endpoint configuration {name}", EndpointError):
            found: Mapping[str, Any] = self.clients("sagemaker").describe_endpoint_config(EndpointConfigName=name)
            return found

    @cached_property
    def _just_made(self) -> dict[str, float]:
        return {}

    def _serving_image(self) -> str:
        settings = self.settings
        image = serving_image(self.region, settings.endpoint_instance_type, settings.serving_image)
        check_servable(settings, image, region=self.region)
        return image

    def _planned_endpoint(
        self, spec: EndpointSpec, image: str, model_uri: str, expires: float | None, *, owned: bool = False
    ) -> tuple[Generation, dict[str, Any]]:
        ends = {} if expires is None else {EXPIRES_TAG: f"{expires:.0f}"}
        generation = self._generation(spec.name, 1, image, model_uri, owned=owned)
        return generation, create_request(spec.name, generation.name, self.tags("endpoint", ends, owned=owned))

    def _generation(self, name: str, number: int, image: str, model_uri: str, *, owned: bool) -> Generation:
        return generation_for(
            name,
            number,
            settings=self.settings,
            image=image,
            model_uri=model_uri,
            role=self.role,
            tags=self.tags("endpoint", owned=owned),
        )

    def _create_endpoint(self, request: Mapping[str, Any]) -> None:
        """Create the endpoint; sent twice, since the first answer got lost, it is there already and ours."""
        try:
            self.clients("sagemaker").create_endpoint(**request)
        except ClientError as error:
            looked = self._looked_at(request["EndpointName"]) if may_be_taken(error) else None
            is_same = looked is not None and looked[0]["EndpointConfigName"] == request["EndpointConfigName"]
            if not (is_same and was_sent_again(error)):
                raise

    def _serves(self, name: str, generation: Generation) -> bool:
        """Whether the endpoint of that name has this generation, whoever asked for it; also where nobody can tell."""
        try:
            looked = self._looked_at(name)
        except BreedclfError:
            return True
        return looked is not None and looked[0].get("EndpointConfigName") == generation.name

    def _unless_begun(self, name: str, change: Callable[[], object]) -> None:
        """Change an endpoint; sent twice, since the first answer got lost, it is being changed already."""
        try:
            change()
        except ClientError as error:
            if not (may_have_ended(error) and was_sent_again(error) and self._is_changing(name)):
                raise


def _calls(generation: Generation, operation: str, request: Mapping[str, Any], region: str) -> list[ApiCall]:
    return [
        ApiCall("CreateModel", generation.model).checked(region),
        ApiCall("CreateEndpointConfig", generation.config).checked(region),
        ApiCall(operation, request).checked(region),
    ]


def _taken(name: str) -> ConfigError:
    return ConfigError(
        f"endpoint name {name!r} is taken; update that endpoint, delete it "
        f"(`breedclf endpoints delete {name} --backend sagemaker`), or choose another name"
    )
