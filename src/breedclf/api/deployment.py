"""`Deployment`: a trained model in, an endpoint that answers out; the same on every back end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from breedclf.api.endpoint import Endpoint
from breedclf.api.transform import TransformResult, transform
from breedclf.errors import ConfigError, EndpointError
from breedclf.files.paths import user_path
from breedclf.jobs import new_name
from breedclf.jobs.endpoints import EndpointSpec, EngineChoice, ServingBackend, TransformBackend, artifact_of
from breedclf.jobs.handle import Clock

log = logging.getLogger(__name__)


class Deployment:
    """A model to be put behind an address.

    Args:
        model: the model folder, or a job, a training's result or a classifier that has one.
        backend: where it is served; processes of this machine if not given.
        name: the endpoint's name; one is made if not given.
        ttl: seconds after which the endpoint goes away, counted from the call of `deploy`: loading is part of them.
        idle_timeout: seconds without a request after which it goes away.
        detach: whether it outlives this process. Without it, nobody can forget it running.
        port: the endpoint's port on this machine; any that is free if not given.
        engine: `torch`, or `openvino` (the extra of that name).
        precision: `auto` is bf16 where the hardware has it; fp32, bf16, or with `openvino` int8.
        calibration: for int8, a folder of pictures as a training takes it, with a valid split.
        max_accuracy_drop: int8 is refused when it costs more accuracy (0 to 1) on that split.
        clock: the time, for tests.

    Example:
        >>> with Deployment("runs/dogs/model").deploy() as endpoint:  # doctest: +SKIP
        ...     endpoint.predict("dog.jpg").top(5)
    """

    def __init__(
        self,
        model: object,
        backend: ServingBackend | None = None,
        *,
        name: str | None = None,
        ttl: float | None = None,
        idle_timeout: float | None = None,
        detach: bool = False,
        port: int = 0,
        engine: str = "torch",
        precision: str = "auto",
        calibration: str | Path | None = None,
        max_accuracy_drop: float = 0.01,
        clock: Clock = time,
    ) -> None:
        self.backend = _serving(backend)
        self._clock = clock
        self.spec = EndpointSpec(
            name=new_name("endpoint") if name is None else name,
            artifact=artifact_of(model),
            ttl_seconds=ttl,
            idle_seconds=idle_timeout,
            detach=detach,
            port=port,
            engine=EngineChoice(
                engine,
                precision,
                None if calibration is None else user_path(calibration, "calibration"),
                max_accuracy_drop,
            ),
        )

    def deploy(self, *, wait: bool = True, timeout: float | None = None) -> Endpoint:
        """Serve the model and return the endpoint, once its answers were found equal to the classifier's.

        Args:
            wait: whether to wait for it; without, `Endpoint.wait` does.
            timeout: seconds to wait; as long as the back end may need if not given.

        Raises:
            ConfigError: the name is taken.
            ArtifactError: the folder holds no model.
            EndpointError: the endpoint failed, for instance because its answers are others than the classifier's.
        """
        self.backend.create_endpoint(self.spec)
        endpoint = Endpoint(self.spec.name, self.backend, clock=self._clock)
        if not wait:
            return endpoint
        try:
            return endpoint.wait(timeout=timeout)
        except BaseException:
            try:
                endpoint.__exit__(None, None, None)
            except EndpointError as left:
                log.warning("%s", left)
            raise

    @staticmethod
    def attach(name: str, backend: ServingBackend | None = None) -> Endpoint:
        """The endpoint of this name, whoever deployed it.

        Raises:
            EndpointError: there is none.
        """
        endpoint = Endpoint(name, _serving(backend))
        endpoint.describe()
        return endpoint

    def transform(
        self,
        folder: str | Path,
        output: str | Path,
        *,
        top: int = 5,
        concurrency: int = 8,
        progress: Callable[[int, int], None] | None = None,
    ) -> TransformResult:
        """Predict all pictures below a folder with an endpoint, or a batch job, that is there for this alone.

        Writes `predictions.jsonl` and `predictions.csv` to `output`, a line a picture, failures included. Started again
        after an interruption, it goes on where it was; pictures that failed are tried again.

        Raises:
            ConfigError: `output` holds the predictions of another model.
            DataError: there is no picture.
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
        )


def _serving(backend: ServingBackend | None) -> ServingBackend:
    if backend is None:
        from breedclf.backends.local.backend import LocalBackend

        return LocalBackend()
    if not isinstance(backend, ServingBackend):
        raise ConfigError(f"backend={backend!r} serves no models; use LocalBackend() or another that does")
    return backend
