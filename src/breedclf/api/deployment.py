"""`Deployment`: a trained model in, a running endpoint out; the same on every backend."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

from breedclf.api.endpoint import Endpoint
from breedclf.api.transform import TransformResult, transform
from breedclf.backends.registry import backend_of
from breedclf.config import Precision
from breedclf.config.aliases import accept_old_keywords
from breedclf.config.evaluation import FeatureReuse
from breedclf.errors import ConfigError, EndpointError
from breedclf.files.paths import StrPath, user_path
from breedclf.jobs import Backend, new_name
from breedclf.jobs.endpoints import (
    BackendOfThisMachine,
    EndpointSpec,
    EngineChoice,
    ServingBackend,
    TransformBackend,
    artifact_of,
)
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.text.html_repr import html_repr

log: logging.Logger = logging.getLogger(__name__)


class Deployment:
    """A model to be served as an endpoint.

    Args:
        model: a model directory, or a job, a `FitResult` or a classifier that has one.
        backend: where to serve: a backend, or its name ("inline", "local", "sagemaker"); "local" if None.
        name: the endpoint's name; made from the time if not given.
        ttl_seconds: delete the endpoint this many seconds after `deploy` was called, loading included.
        idle_seconds: delete the endpoint after this many seconds without requests.
        detach: whether the endpoint outlives this process. By default it ends with the process, so that it can't be
            forgotten.
        port: the endpoint's port on this machine; any free one if 0.
        engine: `torch`, or `openvino` (the extra of that name).
        precision: `auto` uses bf16 where the hardware is faster in it; fp32, bf16, or with `openvino` int8.
        calibration: for int8, an image folder with a valid split.
        max_accuracy_drop: int8 is refused if it costs more accuracy (0 to 1) on that split.
        clock: the time, for tests.

    Example:
        >>> with Deployment("runs/dogs/model").deploy() as endpoint:  # doctest: +SKIP
        ...     endpoint.predict("dog.jpg").top(5)
    """

    @accept_old_keywords
    def __init__(
        self,
        model: object,
        backend: ServingBackend | Backend | str | None = None,
        *,
        name: str | None = None,
        ttl_seconds: float | None = None,
        idle_seconds: float | None = None,
        detach: bool = False,
        port: int = 0,
        engine: str = "torch",
        precision: str = "auto",
        calibration: StrPath | None = None,
        max_accuracy_drop: float = 0.01,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.backend: ServingBackend = serving_backend(backend)
        self._clock = clock
        self.spec: EndpointSpec = EndpointSpec(
            name=new_name("endpoint") if name is None else name,
            artifact=artifact_of(model),
            ttl_seconds=ttl_seconds,
            idle_seconds=idle_seconds,
            detach=detach,
            port=port,
            engine=EngineChoice(
                engine,
                precision,
                None if calibration is None else user_path(calibration, "calibration"),
                max_accuracy_drop,
            ),
        )

    def __repr__(self) -> str:
        return f"Deployment({str(self.spec.artifact)!r}, backend={self.backend.name!r}, name={self.spec.name!r})"

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.jobs.view import deployment_view

        return deployment_view(self.spec, self.backend.name)

    @accept_old_keywords
    def deploy(self, *, wait: bool = True, timeout_seconds: float | None = None) -> Endpoint:
        """Serve the model and return the endpoint, once its predictions were found equal to the classifier's.

        Args:
            wait: whether to wait until it is in service; otherwise call `Endpoint.wait`.
            timeout_seconds: how long to wait; defaults to what the backend may need.

        Raises:
            ConfigError: the name is taken.
            ArtifactError: the folder contains no model.
            EndpointError: the endpoint failed, for instance because its predictions differ from the classifier's.
        """
        self.backend.create_endpoint(self.spec)
        endpoint = Endpoint(self.spec.name, self.backend, clock=self._clock)
        if not wait:
            return endpoint
        try:
            return endpoint.wait(timeout_seconds=timeout_seconds)
        except BaseException:
            try:
                endpoint.__exit__(None, None, None)
            except EndpointError as left:
                log.warning("%s", left)
            raise

    @staticmethod
    def attach(name: str, backend: ServingBackend | Backend | str | None = None) -> Endpoint:
        """The endpoint of this name, whichever process deployed it.

        Args:
            name: the endpoint's name.
            backend: where it runs: a backend, or its name; "local" if None.

        Raises:
            EndpointError: there is none.
        """
        endpoint = Endpoint(name, serving_backend(backend))
        endpoint.describe()
        return endpoint

    def transform(
        self,
        folder: StrPath,
        output: StrPath,
        *,
        top: int = 5,
        concurrency: int = 8,
        progress: Callable[[int, int], None] | None = None,
        feature_cache: bool = True,
        feature_store: StrPath | None = None,
        verify_files: bool = False,
        cache_dir: StrPath | None = None,
    ) -> TransformResult:
        """Predict all images below a folder: on this machine in this process, on SageMaker with one batch job.

        In this process the features of images are reused and stored, as by `evaluate`, whose `feature_cache`,
        `feature_store`, `verify_files` and `cache_dir` are these. A temporary endpoint is deployed
        for `engine="openvino"`, or if the backend serves elsewhere without batch jobs; `concurrency` is its number of
        requests at once.

        Writes `predictions.jsonl` and `predictions.csv` to `output`, one line per image, failures included. After an
        interruption, call it again to continue; images that failed are tried again.

        Raises:
            ConfigError: `output` contains the predictions of another model, or a setting of the features is given
                where none are reused.
            DataError: there are no images.
        """
        return transform(
            self.deploy,
            self.spec.artifact,
            user_path(folder, "folder"),
            user_path(output, "output"),
            top=top,
            concurrency=concurrency,
            progress=progress,
            job=self.backend if isinstance(self.backend, TransformBackend) else None,
            precision=self._precision_here,
            reuse=FeatureReuse(
                feature_cache=feature_cache,
                feature_store=feature_store,
                verify_files=verify_files,
                cache_dir=cache_dir,
            ),
        )

    @property
    def _precision_here(self) -> Precision | None:
        """The precision in which this process can predict in place of an endpoint; None if it can't."""
        is_here = isinstance(self.backend, BackendOfThisMachine) and self.backend.serves_on_this_machine
        return cast("Precision", self.spec.engine.precision) if is_here and self.spec.engine.name == "torch" else None


def serving_backend(backend: ServingBackend | Backend | str | None) -> ServingBackend:
    """The backend that a user chose, if it serves models; "local" if None.

    Raises:
        ConfigError: there is none of that name, or it doesn't serve models.
    """
    chosen: object = backend_of(backend) if backend is None or isinstance(backend, str) else backend
    if not isinstance(chosen, ServingBackend):
        raise ConfigError(f"backend={backend!r} serves no models; use LocalBackend() or another that does")
    return chosen
