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
from breedclf.backends.sagemaker.endpoint_check import compare_with
from breedclf.backends.sagemaker.endpoint_request import (
    MACHINE_BODY_BYTES,
    SERVERLESS_BODY_BYTES,
    Generation,
    check_servable,
    check_spec,
    create_request,
    generation_for,
    generation_of,
    tag_text,
    update_request,
)
from breedclf.backends.sagemaker.endpoint_state import (
    CHECKED_TAG,
    EXPIRES_TAG,
    Seen,
    Step,
    refused_tags,
    seen,
    tried_tag,
)
from breedclf.backends.sagemaker.generations import forget, is_absent, is_changing, is_taken, make
from breedclf.backends.sagemaker.invocation import invoke
from breedclf.backends.sagemaker.place import TAG, Place
from breedclf.backends.sagemaker.served_model import ServedModel, answers_uri
from breedclf.backends.sagemaker.serving_images import serving_image
from breedclf.endpoints import EndpointDescription, EndpointSpec, EndpointStatus, EndpointTerms
from breedclf.errors import BreedclfError, ConfigError, EndpointError, ModelError, ParityError

log = logging.getLogger(__name__)

_START_SECONDS, _END_SECONDS = 2_400.0, 600.0
_CONSISTENT_SECONDS = 60.0  # AWS doesn't know everywhere at once what it was told
_CHECK_SECONDS = 60.0
# Ray's server calls itself healthy before the model is loaded, and answers with these until then.
_LOADING_SECONDS = 300.0
_OLDEST_FIRST = {"SortBy": "CreationTime", "SortOrder": "Ascending"}
_LOADING_STATUS = {0, 404, 500, 502, 503, 504}


class Endpoints(Place):
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
        image = self._serving_image()
        if self._looked(spec.name) is not None:
            raise _taken(spec.name)
        with ServedModel.packed(spec.artifact, self.uri("models")) as served:
            generation, request = self._planned(spec, image, served.uri)
            self.check_cost(_calls(generation, request), seconds=spec.ttl_seconds)
            served.upload(self.storage)
        with told(f"creating endpoint {spec.name}", EndpointError):
            client = self.clients("sagemaker")
            try:
                make(client, generation, lambda: client.create_endpoint(**request), self._clock)
            except ClientError as error:
                if is_taken(error):
                    raise _taken(spec.name) from error
                raise
        self._just_made[spec.name] = self._clock.monotonic()
        if spec.ttl_seconds is not None:
            log.info(
                "SageMaker ends no endpoint by itself: `breedclf endpoints reap --backend sagemaker` deletes %s when "
                "its time is over",
                spec.name,
            )

    def requests_for_endpoint(self, spec: EndpointSpec) -> dict[str, dict[str, Any]]:
        """What `create_endpoint` would send, by operation, without uploading or sending anything.

        Raises:
            ConfigError: SageMaker serves nothing so.
            ArtifactError: the folder holds no model.
        """
        check_spec(spec)
        with ServedModel.packed(spec.artifact, self.uri("models")) as served:
            generation, request = self._planned(spec, self._serving_image(), served.uri)
        return {call.operation: dict(call.parameters) for call in _calls(generation, request)}

    def describe_endpoint(self, name: str) -> EndpointDescription:
        """What SageMaker says; a new generation is in service once its answers were found right, here if need be.

        Raises:
            EndpointError: there is no such endpoint.
        """
        looked = self._looked(name)
        if looked is None:
            if self._clock.monotonic() - self._just_made.get(name, float("-inf")) < _CONSISTENT_SECONDS:
                return EndpointDescription(name, EndpointStatus.CREATING, self._clock.time())
            raise _absent(name, self.region)
        self._just_made.pop(name, None)
        described, tags = looked
        now = seen(described, tags)
        if now.step is Step.CHECK:
            changed = self._check(now)
            now = seen(described, {**tags, **changed})
        if now.step is Step.LEAD_BACK:
            self._lead_back(now)
        return now.description

    def list_endpoints(self) -> list[EndpointDescription]:
        """All endpoints that breedclf made here, the oldest first; none is asked for a prediction."""
        with told("listing endpoints", BreedclfError):
            pages = self.clients("sagemaker").get_paginator("list_endpoints")
            found = [each for page in pages.paginate(**_OLDEST_FIRST) for each in page["Endpoints"]]
            ours = [each["EndpointName"] for each in found if TAG in self._tags(each["EndpointArn"])]
        looked = [each for name in ours if (each := self._looked(name)) is not None]
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
            served.upload(self.storage)
        generation = self._generation(name, number, image, served.uri)
        request = update_request(name, generation.name)
        with told(f"updating endpoint {name}", EndpointError):
            client = self.clients("sagemaker")
            make(client, generation, lambda: client.update_endpoint(**request), self._clock)
        self._tag(now, tried_tag(number, now.modified))
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
                if not is_changing(error):
                    raise
                self._tag(now, {EXPIRES_TAG: f"{self._clock.time():.0f}"})
                raise EndpointError(
                    f"endpoint {name} is {now.description.details['status']}, and SageMaker deletes none meanwhile; "
                    "it is marked as over, so that `breedclf endpoints reap --backend sagemaker` deletes it afterwards"
                ) from error
        self._just_made.pop(name, None)
        self._forget(name, lambda _: True)

    def reap_endpoints(self) -> list[str]:
        """Delete the endpoints that have failed or whose time is over; return their names."""
        gone = [
            each.name
            for each in self.list_endpoints()
            if each.status is EndpointStatus.FAILED or (each.expires or float("inf")) <= self._clock.time()
        ]
        for name in gone:
            self.delete_endpoint(name)
        return gone

    def invoke_endpoint(self, name: str, body: bytes, *, content_type: str, timeout_seconds: float = 60) -> bytes:
        """Send a request; where SageMaker or the model is busy for a moment, again until the time is over.

        A single try takes up to the 60 seconds that SageMaker gives a model.

        Raises:
            ModelError: the model's server refused it.
            EndpointError: there is no such endpoint, it takes no request so large, or there is no answer in time.
        """
        if len(body) > SERVERLESS_BODY_BYTES and self._is_serverless(name):
            raise EndpointError(
                f"a request of {len(body):,} bytes: endpoint {name} is serverless and takes {SERVERLESS_BODY_BYTES:,}; "
                "send the picture smaller, or serve on a machine"
            )
        return invoke(
            self.clients("sagemaker-runtime"),
            name,
            body,
            content_type=content_type,
            timeout_seconds=timeout_seconds,
            clock=self._clock,
        )

    @cached_property
    def _just_made(self) -> dict[str, float]:
        return {}

    @cached_property
    def _checking_since(self) -> dict[str, float]:
        return {}

    @cached_property
    def _serverless(self) -> dict[str, bool]:
        return {}

    def _serving_image(self) -> str:
        settings = self.settings
        image = serving_image(self.region, settings.endpoint_instance_type, settings.serving_image)
        check_servable(settings, image, region=self.region)
        return image

    def _planned(self, spec: EndpointSpec, image: str, model_uri: str) -> tuple[Generation, dict[str, Any]]:
        ends = {} if spec.ttl_seconds is None else {EXPIRES_TAG: f"{self._clock.time() + spec.ttl_seconds:.0f}"}
        generation = self._generation(spec.name, 1, image, model_uri)
        return generation, create_request(spec.name, generation.name, self.tags("endpoint", ends))

    def _generation(self, name: str, number: int, image: str, model_uri: str) -> Generation:
        return generation_for(
            name,
            number,
            settings=self.settings,
            image=image,
            model_uri=model_uri,
            role=self.role,
            tags=self.tags("endpoint"),
        )

    def _looked(self, name: str) -> tuple[Mapping[str, Any], dict[str, str]] | None:
        """SageMaker's description and the tags; None when there is no such endpoint."""
        name = EndpointSpec(name, Path()).name
        client = self.clients("sagemaker")
        with told(f"asking for endpoint {name}", BreedclfError):
            try:
                described: Mapping[str, Any] = client.describe_endpoint(EndpointName=name)
                return described, self._tags(described["EndpointArn"])
            except ClientError as error:
                if is_absent(error):
                    return None
                raise

    def _tags(self, arn: str) -> dict[str, str]:
        pages = self.clients("sagemaker").get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    def _ours(self, name: str) -> Seen:
        looked = self._looked(name)
        if looked is None:
            raise _absent(name, self.region)
        now = seen(*looked)
        if not now.is_ours:
            raise EndpointError(f"endpoint {name} was not made by breedclf (it has no tag of it); it is left as it is")
        return now

    def _check(self, now: Seen) -> dict[str, str]:
        """Compare a new generation's answers with the classifier's, and return the tags that remember the outcome."""
        name = now.description.name
        since = self._checking_since.setdefault(now.config, self._clock.monotonic())
        try:
            compare_with(self._right_answers(now), lambda body, kind: self._ask(name, body, kind))
        except (ModelError, ParityError) as error:
            is_loading = isinstance(error, ModelError) and error.original_status_code in _LOADING_STATUS
            if is_loading and self._clock.monotonic() - since < _LOADING_SECONDS:
                log.info("endpoint %s doesn't answer yet: %s", name, error)
                return {}
            log.warning("endpoint %s: %s", name, error)
            outcome = refused_tags(now.config, now.modified, tag_text(str(error)))
        else:
            outcome = {CHECKED_TAG: now.config}
        self._checking_since.pop(now.config, None)
        self._tag(now, outcome)
        if CHECKED_TAG in outcome and now.checked is not None:
            served = generation_of(name, now.config) or 0
            self._forget(name, lambda number: number < served)
        return outcome

    def _ask(self, name: str, body: bytes, content_type: str) -> bytes:
        return self.invoke_endpoint(name, body, content_type=content_type, timeout_seconds=_CHECK_SECONDS)

    def _right_answers(self, now: Seen) -> bytes:
        with told(f"asking what endpoint {now.description.name} serves", BreedclfError):
            model = self.clients("sagemaker").describe_model(ModelName=now.config)
        uri = answers_uri(model["PrimaryContainer"]["ModelDataUrl"])
        answers = self.storage.get(uri)
        if answers is None:
            raise BreedclfError(
                f"{uri} is gone, so that endpoint {now.description.name} can't be checked; deploy it again"
            )
        return answers

    def _lead_back(self, now: Seen) -> None:
        assert now.checked is not None
        with told(f"leading endpoint {now.description.name} back to the model before", EndpointError):
            try:
                self.clients("sagemaker").update_endpoint(**update_request(now.description.name, now.checked))
            except ClientError as error:
                if not is_changing(error):  # then it is on its way already
                    raise

    def _tag(self, now: Seen, pairs: Mapping[str, str]) -> None:
        tags = [{"Key": key, "Value": value} for key, value in pairs.items()]
        with told(f"noting the state of endpoint {now.description.name}", EndpointError):
            self.clients("sagemaker").add_tags(ResourceArn=now.description.details["arn"], Tags=tags)

    def _forget(self, name: str, gone: Callable[[int], bool]) -> None:
        with told(f"clearing up after endpoint {name}", EndpointError):
            forget(self.clients("sagemaker"), name, gone)

    def _is_serverless(self, name: str) -> bool:
        if name not in self._serverless:
            looked = self._looked(name)
            self._serverless[name] = looked is not None and seen(*looked).is_serverless
        return self._serverless[name]


def _calls(generation: Generation, request: Mapping[str, Any]) -> list[ApiCall]:
    return [
        ApiCall("CreateModel", generation.model),
        ApiCall("CreateEndpointConfig", generation.config),
        ApiCall("CreateEndpoint", request),
    ]


def _taken(name: str) -> ConfigError:
    return ConfigError(
        f"endpoint name {name!r} is taken; update that endpoint, delete it "
        f"(`breedclf endpoints delete {name} --backend sagemaker`), or choose another name"
    )


def _absent(name: str, region: str) -> EndpointError:
    return EndpointError(
        f"there is no endpoint {name!r} in {region}; `breedclf endpoints list --backend sagemaker` shows all that are"
    )
