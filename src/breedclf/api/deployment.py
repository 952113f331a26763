"""`Deployment`: a trained model in, an endpoint that answers out; the same on every back end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from breedclf.api.endpoint import Endpoint
from breedclf.api.transform import TransformResult, transform
from breedclf.endpoints import EndpointSpec, EngineChoice, ServingBackend, artifact_of
from breedclf.errors import ConfigError
from breedclf.jobs import new_name


class Deployment:
    """A model to be put behind an address.

    Args:
        model: the model folder, or a job, a training's result or a classifier that has one.
        backend: where it is served; processes of this machine if not given.
        name: the endpoint's name; one is made if not given.
        ttl: seconds after which the endpoint goes away.
        idle_timeout: seconds without a request after which it goes away.
        detach: whether it outlives this process. Without it, nobody can forget it running.
        port: the endpoint's port on this machine; any that is free if not given.
        engine: `torch`, or `openvino` (the extra of that name).
        precision: `auto` is bf16 where the hardware has it; fp32, bf16, or with `openvino` int8.
        calibration: for int8, a folder of pictures as a training takes it, with a valid split.
        max_accuracy_drop: int8 is refused when it costs more accuracy (0 to 1) on that split.

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
    ) -> None:
        self.backend = _serving(backend)
        self.spec = EndpointSpec(
            name=new_name("endpoint") if name is None else name,
            artifact=artifact_of(model),
            ttl_seconds=ttl,
            idle_seconds=idle_timeout,
            detach=detach,
            port=port,
            engine=EngineChoice(
                engine, precision, None if calibration is None else Path(calibration), max_accuracy_drop
            ),
        )

    def deploy(self, *, wait: bool = True, timeout: float = 600) -> Endpoint:
        """Serve the model and return the endpoint, once its answers were found equal to the classifier's.

        Raises:
            ConfigError: the name is taken.
            ArtifactError: the folder holds no model.
            EndpointError: the endpoint failed, for instance because its answers are others than the classifier's.
        """
        self.backend.create_endpoint(self.spec)
        endpoint = Endpoint(self.spec.name, self.backend)
        if not wait:
            return endpoint
        try:
            return endpoint.wait(timeout=timeout)
        except BaseException:
            endpoint.__exit__(None, None, None)
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
        """Predict all pictures below a folder with an endpoint that is there for this alone.

        Writes `predictions.jsonl` and `predictions.csv` to `output`, a line a picture, failures included. Started again
        after an interruption, it goes on where it was; pictures that failed are tried again.

        Raises:
            ConfigError: `output` holds the predictions of another model.
            DataError: there is no picture.
        """
        return transform(
            self.deploy,
            self.spec.artifact,
            Path(folder),
            Path(output),
            top=top,
            concurrency=concurrency,
            progress=progress,
        )


def _serving(backend: ServingBackend | None) -> ServingBackend:
    if backend is None:
        from breedclf.backends.local.backend import LocalBackend

        return LocalBackend()
    if not isinstance(backend, ServingBackend):
        raise ConfigError(f"backend={backend!r} serves no models; use LocalBackend() or another that does")
    return backend
