"""The search and the registration of a journey as a SageMaker pipeline, which runs without this machine."""

from __future__ import annotations

import json

from breedclf.api.native_tuning import native_search
from breedclf.api.search_setup import search_request
from breedclf.errors import ConfigError
from breedclf.jobs import Backend
from breedclf.journey.settings import JourneySettings
from breedclf.tuning.stopping import Completion

_ACCURACY = "valid_accuracy"


def sagemaker_pipeline(settings: JourneySettings, backend: Backend | None) -> str:
    """The pipeline's definition; see `Journey.to_sagemaker_pipeline`."""
    from breedclf.backends.sagemaker.backend import SageMakerBackend
    from breedclf.backends.sagemaker.model_packages.pipeline import Pipelines

    if not isinstance(backend, SageMakerBackend):
        raise ConfigError(f"backend={backend!r}: a SageMaker pipeline needs a SageMakerBackend")
    if settings.candidates:
        raise ConfigError("candidates: a pipeline can't compare backbones; set training.architecture")
    training = settings.training
    minimum = settings.gate.baseline
    if minimum is not None and training.objective != _ACCURACY:
        raise ConfigError(
            f"gate.baseline={minimum:g} with objective={training.objective!r}: a pipeline compares the baseline with "
            f"the best objective, so it needs objective={_ACCURACY!r}; or leave gate.baseline out"
        )
    request = search_request(
        name=f"pipeline-{settings.model_name}"[:32].rstrip("-"),
        config=training,
        space=settings.space,
        weights=None,
        objective=training.objective,
        strategy="grid",
        max_jobs=settings.max_jobs,
        max_parallel_jobs=1,
        early_stopping=False,
        seed=0,
        grid_points=None,
        completion=Completion(),
        max_seconds_per_job=None,
        packed=False,
    )
    definition = Pipelines(backend.context).definition(native_search(request), settings.model_name, minimum=minimum)
    return json.dumps(definition, indent=2)
