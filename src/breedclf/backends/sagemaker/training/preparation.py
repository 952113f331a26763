"""From a `JobSpec` to a request that is ready to send: checked, affordable, its inputs uploaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from breedclf.backends.sagemaker.api_call import validate_call
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.training.images import debugger_image, training_image
from breedclf.backends.sagemaker.training.inputs import Inputs, require_trainable
from breedclf.backends.sagemaker.training.request import (
    JobImages,
    JobPlaces,
    feature_store_of,
    training_request,
    vpc_note,
)
from breedclf.errors import ConfigError
from breedclf.jobs import JobSpec
from breedclf.jobs.plan import ApiCall

log: logging.Logger = logging.getLogger(__name__)

_PLACEHOLDER = "s3://to-be-uploaded"  # the final URIs contain hashes of the content


class TrainingRequests:
    """Builds CreateTrainingJob requests."""

    def __init__(self, context: AwsContext) -> None:
        self._context = context
        self._inputs = Inputs(context)

    def planned(self, spec: JobSpec) -> dict[str, Any]:
        """The request for a job; nothing is uploaded or sent.

        Raises:
            ConfigError: the job isn't possible with these settings.
        """
        return self._request(spec, self._inputs.planned(spec), self._context.tags("training", spec.tags))

    def prepared(self, spec: JobSpec, *, check_name: Callable[[], object]) -> dict[str, Any]:
        """The same request after uploading the job's inputs; `check_name` is called before the upload.

        Raises:
            ConfigError: the job isn't possible with these settings, or may cost too much.
            DataError: training on its images would fail.
        """
        context = self._context
        places = JobPlaces(_PLACEHOLDER, dict.fromkeys(spec.channels, _PLACEHOLDER), _PLACEHOLDER)
        planned = self._request(spec, places, context.tags("training", spec.tags))
        if (note := vpc_note(spec, context.settings)) is not None:
            log.warning("%s", note)
        context.require_affordable([validate_call(ApiCall("CreateTrainingJob", planned), context.region)])
        require_trainable(spec)
        check_name()
        context.check_bucket()
        if (store := feature_store_of(spec)) is not None:
            context.check_region(store.bucket)
        return self._request(spec, self._inputs.sent(spec), context.tags("training", spec.tags, owned=True))

    def _request(self, spec: JobSpec, places: JobPlaces, tags: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        settings, region = self._context.settings, self._context.region
        return training_request(
            spec,
            settings,
            role=self._context.role,
            images=JobImages(
                training=settings.image or training_image(region, settings.instance_type),
                debugger=_debugger_image(region) if settings.debugger else None,
            ),
            places=places,
            tags=tags,
        )


def _debugger_image(region: str) -> str | None:
    try:
        return debugger_image(region)
    except ConfigError as error:
        log.warning("%s; the job runs without SageMaker Debugger; its output contains breedclf's own profile", error)
        return None
