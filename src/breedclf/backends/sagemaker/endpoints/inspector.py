"""Inspects endpoints: describes them, compares their answers, and records the result in tags."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws_errors import is_missing, may_have_ended, translate_aws_errors
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.endpoints.expected_answers import compare_with
from breedclf.backends.sagemaker.endpoints.generations import forget
from breedclf.backends.sagemaker.endpoints.invocation import invoke
from breedclf.backends.sagemaker.endpoints.request import SERVERLESS_BODY_BYTES, generation_of, update_request
from breedclf.backends.sagemaker.endpoints.served_model import answers_uri
from breedclf.backends.sagemaker.endpoints.state import CHANGING, CHECKED_TAG, EndpointView, refused_tags, view_of
from breedclf.backends.sagemaker.tags import tag_text
from breedclf.errors import BreedclfError, EndpointError, ModelError, ParityError
from breedclf.jobs.endpoints import EndpointSpec

log: logging.Logger = logging.getLogger(__name__)

_CHECK_SECONDS = 60.0
# Ray's server reports itself healthy before the model is loaded, and responds with these until then.
_LOADING_SECONDS = 300.0
_LOADING_STATUS = {0, 404, 500, 502, 503, 504}


class EndpointInspector:
    """Describes endpoints, sends requests to them, checks new generations and rolls them back."""

    def __init__(self, context: AwsContext) -> None:
        self._context = context
        self._check_started: dict[str, float] = {}
        self._serverless: dict[str, bool] = {}

    def invoke(
        self, name: str, body: bytes, *, content_type: str, timeout_seconds: float = 60, attributes: str = ""
    ) -> bytes:
        """Send a request; retried until the timeout while SageMaker or the model is busy.

        A single attempt takes up to 60 seconds, SageMaker's limit for a model.

        Raises:
            ModelError: the model's server rejected the request.
            EndpointError: there is no such endpoint, the request is too large for it, or the timeout has passed.
        """
        if len(body) > SERVERLESS_BODY_BYTES and self._is_serverless(name):
            raise EndpointError(
                f"a request of {len(body):,} bytes: endpoint {name} is serverless and accepts at most "
                f"{SERVERLESS_BODY_BYTES:,}; send a smaller image, or serve on a machine"
            )
        return invoke(
            self._context.clients("sagemaker-runtime"),
            name,
            body,
            content_type=content_type,
            timeout_seconds=timeout_seconds,
            clock=self._context.clock,
            attributes=attributes,
        )

    def described(self, name: str) -> tuple[Mapping[str, Any], dict[str, str]] | None:
        """The response of DescribeEndpoint and the tags; None if there is no such endpoint."""
        name = EndpointSpec(name, Path()).name
        client = self._context.clients("sagemaker")
        with translate_aws_errors(f"describing endpoint {name}", as_=BreedclfError):
            try:
                answer: Mapping[str, Any] = client.describe_endpoint(EndpointName=name)
                return answer, self._context.resource_tags(answer["EndpointArn"])
            except ClientError as error:
                if is_missing(error):
                    return None
                raise

    def view(self, name: str) -> EndpointView | None:
        """The current view of an endpoint; None if there is none of that name."""
        found = self.described(name)
        return None if found is None else view_of(*found)

    def own_view(self, name: str) -> EndpointView:
        """The view of an endpoint that breedclf created.

        Raises:
            EndpointError: there is no such endpoint, or breedclf didn't create it.
        """
        view = self.view(name)
        if view is None:
            raise no_endpoint(name, self._context.region)
        if not view.is_ours:
            raise EndpointError(f"endpoint {name} was not created by breedclf (it has no breedclf tag); not changed")
        return view

    def check_answers(self, view: EndpointView) -> dict[str, str]:
        """Compare a new generation's answers with the classifier's; returns the tags that record the result."""
        name, clock = view.description.name, self._context.clock
        since = self._check_started.setdefault(view.config, clock.monotonic())
        try:
            compare_with(self._expected_answers(view), lambda body, kind: self._ask_sample(name, body, kind))
        except (ModelError, ParityError) as error:
            is_loading = isinstance(error, ModelError) and error.original_status_code in _LOADING_STATUS
            if is_loading and clock.monotonic() - since < _LOADING_SECONDS:
                log.info("endpoint %s doesn't answer yet: %s", name, error)
                return {}
            log.warning("endpoint %s: %s", name, error)
            outcome = refused_tags(view.config, view.modified, tag_text(str(error)))
        else:
            outcome = {CHECKED_TAG: view.config}
        self._check_started.pop(view.config, None)
        self.tag(view, outcome)
        if CHECKED_TAG in outcome and view.checked is not None:
            served = generation_of(name, view.config) or 0
            self.delete_generations(name, lambda number: number < served)
        return outcome

    def roll_back(self, view: EndpointView) -> None:
        """Return an endpoint to its last checked generation."""
        assert view.checked is not None
        name = view.description.name
        with translate_aws_errors(f"rolling back endpoint {name} to the previous model", as_=EndpointError):
            try:
                self._context.clients("sagemaker").update_endpoint(**update_request(name, view.checked))
            except ClientError as error:
                if not (may_have_ended(error) and self.is_changing(name)):
                    raise  # otherwise the rollback is already in progress

    def tag(self, view: EndpointView, pairs: Mapping[str, str]) -> None:
        """Add tags to an endpoint."""
        tags = [{"Key": key, "Value": value} for key, value in pairs.items()]
        with translate_aws_errors(f"tagging endpoint {view.description.name}", as_=EndpointError):
            self._context.clients("sagemaker").add_tags(ResourceArn=view.description.details["arn"], Tags=tags)

    def delete_generations(self, name: str, is_obsolete: Callable[[int], bool]) -> None:
        """Delete the models and configurations of an endpoint's obsolete generations."""
        with translate_aws_errors(f"deleting old models of endpoint {name}", as_=EndpointError):
            forget(self._context.clients("sagemaker"), name, is_obsolete)

    def is_changing(self, name: str) -> bool:
        """Whether AWS is changing the endpoint and rejects other changes meanwhile."""
        found = self.described(name)
        return found is not None and found[0]["EndpointStatus"] in CHANGING

    def _ask_sample(self, name: str, body: bytes, content_type: str) -> bytes:
        return self.invoke(name, body, content_type=content_type, timeout_seconds=_CHECK_SECONDS)

    def _expected_answers(self, view: EndpointView) -> bytes:
        name = view.description.name
        with translate_aws_errors(f"describing the model of endpoint {name}", as_=BreedclfError):
            model = self._context.clients("sagemaker").describe_model(ModelName=view.config)
        uri = answers_uri(model["PrimaryContainer"]["ModelDataUrl"])
        answers = self._context.storage.get(uri)
        if answers is None:
            raise BreedclfError(f"{uri} no longer exists, so endpoint {name} can't be checked; deploy it again")
        return answers

    def _is_serverless(self, name: str) -> bool:
        if name not in self._serverless:
            view = self.view(name)
            self._serverless[name] = view is not None and view.is_serverless
        return self._serverless[name]


def no_endpoint(name: str, region: str) -> EndpointError:
    """The error for an endpoint that doesn't exist."""
    return EndpointError(
        f"there is no endpoint {name!r} in {region}; `breedclf endpoints list --backend sagemaker` lists all"
    )
