"""What an endpoint on SageMaker is found to be: its description, its tags, its answers, and what these make of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws import told
from breedclf.backends.sagemaker.context import Place
from breedclf.backends.sagemaker.endpoints.expected_answers import compare_with
from breedclf.backends.sagemaker.endpoints.generations import forget
from breedclf.backends.sagemaker.endpoints.invocation import invoke
from breedclf.backends.sagemaker.endpoints.request import SERVERLESS_BODY_BYTES, generation_of, tag_text, update_request
from breedclf.backends.sagemaker.endpoints.served_model import answers_uri
from breedclf.backends.sagemaker.endpoints.state import CHANGING, CHECKED_TAG, Seen, refused_tags, seen
from breedclf.backends.sagemaker.refusals import is_missing, may_have_ended
from breedclf.errors import BreedclfError, EndpointError, ModelError, ParityError
from breedclf.jobs.endpoints import EndpointSpec

log: logging.Logger = logging.getLogger(__name__)

_CHECK_SECONDS = 60.0
# Ray's server calls itself healthy before the model is loaded, and answers with these until then.
_LOADING_SECONDS = 300.0
_LOADING_STATUS = {0, 404, 500, 502, 503, 504}


class EndpointLook(Place):
    """Looks at endpoints, asks them, and notes in their tags what was found."""

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

    def _looked_at(self, name: str) -> tuple[Mapping[str, Any], dict[str, str]] | None:
        """SageMaker's description and the tags; None when there is no such endpoint."""
        name = EndpointSpec(name, Path()).name
        client = self.clients("sagemaker")
        with told(f"asking for endpoint {name}", BreedclfError):
            try:
                described: Mapping[str, Any] = client.describe_endpoint(EndpointName=name)
                return described, self.tags_of(described["EndpointArn"])
            except ClientError as error:
                if is_missing(error):
                    return None
                raise

    def _ours(self, name: str) -> Seen:
        looked = self._looked_at(name)
        if looked is None:
            raise absent(name, self.region)
        now = seen(*looked)
        if not now.is_ours:
            raise EndpointError(f"endpoint {name} was not made by breedclf (it has no tag of it); it is left as it is")
        return now

    def _check_answers(self, now: Seen) -> dict[str, str]:
        """Compare a new generation's answers with the classifier's, and return the tags that remember the outcome."""
        name = now.description.name
        since = self._checking_since.setdefault(now.config, self._clock.monotonic())
        try:
            compare_with(self._right_answers(now), lambda body, kind: self._ask_sample(name, body, kind))
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
        self._tag_endpoint(now, outcome)
        if CHECKED_TAG in outcome and now.checked is not None:
            served = generation_of(name, now.config) or 0
            self._forget_generations(name, lambda number: number < served)
        return outcome

    def _ask_sample(self, name: str, body: bytes, content_type: str) -> bytes:
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
            client, request = self.clients("sagemaker"), update_request(now.description.name, now.checked)
            try:
                client.update_endpoint(**request)
            except ClientError as error:
                if not (may_have_ended(error) and self._is_changing(now.description.name)):
                    raise  # otherwise it is on its way already

    def _tag_endpoint(self, now: Seen, pairs: Mapping[str, str]) -> None:
        tags = [{"Key": key, "Value": value} for key, value in pairs.items()]
        with told(f"noting the state of endpoint {now.description.name}", EndpointError):
            self.clients("sagemaker").add_tags(ResourceArn=now.description.details["arn"], Tags=tags)

    def _forget_generations(self, name: str, gone: Callable[[int], bool]) -> None:
        with told(f"clearing up after endpoint {name}", EndpointError):
            forget(self.clients("sagemaker"), name, gone)

    def _is_changing(self, name: str) -> bool:
        """Whether AWS is at work on the endpoint, and takes no other order meanwhile."""
        looked = self._looked_at(name)
        return looked is not None and looked[0]["EndpointStatus"] in CHANGING

    def _is_serverless(self, name: str) -> bool:
        if name not in self._serverless:
            looked = self._looked_at(name)
            self._serverless[name] = looked is not None and seen(*looked).is_serverless
        return self._serverless[name]

    @cached_property
    def _checking_since(self) -> dict[str, float]:
        return {}

    @cached_property
    def _serverless(self) -> dict[str, bool]:
        return {}


def absent(name: str, region: str) -> EndpointError:
    return EndpointError(
        f"there is no endpoint {name!r} in {region}; `breedclf endpoints list --backend sagemaker` shows all that are"
    )
