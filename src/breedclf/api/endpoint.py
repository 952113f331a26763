"""`Endpoint`: query, update or delete a deployed model by name, from any process and on any backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from os import PathLike, fsdecode
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeGuard, overload

from breedclf.api.answers import explained_prediction_of, prediction_of
from breedclf.api.explained import ExplainedPrediction, explanation_attributes
from breedclf.config.aliases import accept_old_keywords
from breedclf.errors import BreedclfError, ConfigError, EndpointError, ImageError
from breedclf.inference.prediction import Prediction
from breedclf.jobs import check_name
from breedclf.jobs.endpoints import (
    EndpointDescription,
    EndpointStatus,
    EndpointTerms,
    ServingBackend,
    artifact_of,
    terms_of,
)
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.text.html_repr import html_repr

if TYPE_CHECKING:
    from types import TracebackType

    from PIL import Image

    from breedclf.data.any_image import AnyImage

log: logging.Logger = logging.getLogger(__name__)

MAX_BODY_BYTES = EndpointTerms.max_body_bytes
_SNIFFED = "application/x-image"
_SENT_AS_THEY_ARE = ("JPEG", "PNG", "WebP")
_SHRUNK_SIDE_PX = 2048
_DOWNLOAD_SECONDS = 20.0
_MAX_DOWNLOAD_BYTES = 64 << 20


class Endpoint:
    """A deployed model, identified by its name. As a context manager it deletes the endpoint at the end.

    Handles of the same endpoint are equal, and can be pickled.

    Example:
        >>> with Deployment("runs/dogs/model").deploy() as endpoint:  # doctest: +SKIP
        ...     endpoint.predict("dog.jpg").top(5)
    """

    def __init__(self, name: str, backend: ServingBackend, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name: str = check_name(name)
        self.backend = backend
        self._clock = clock

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Endpoint) and (self.name, self.backend) == (other.name, other.backend)

    def __hash__(self) -> int:
        return hash((Endpoint, self.name, self.backend))

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, backend={self.backend.name!r})"

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.jobs.view import endpoint_view

        return endpoint_view(self.name, self.backend.name, self.describe)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._existing() is not None:
            self.delete()

    def describe(self) -> EndpointDescription:
        """A snapshot of the endpoint."""
        return self.backend.describe_endpoint(self.name)

    @property
    def status(self) -> EndpointStatus:
        """Creating, InService, Updating, RollingBack, Deleting or Failed."""
        return self.describe().status

    @property
    def url(self) -> str | None:
        """Its URL, if it can be reached over HTTP."""
        return self.describe().url

    @overload
    def predict(
        self, image: AnyImage, *, timeout_seconds: float = 60, explain: Literal[False] = False
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        image: AnyImage,
        *,
        timeout_seconds: float = 60,
        explain: Literal[True],
        class_name: str | None = None,
        against: str | None = None,
    ) -> ExplainedPrediction: ...

    @accept_old_keywords
    def predict(
        self,
        image: AnyImage,
        *,
        timeout_seconds: float = 60,
        explain: bool = False,
        class_name: str | None = None,
        against: str | None = None,
    ) -> Prediction:
        """Rank the classes for one image.

        An image is what `Classifier.predict` accepts, or a URL starting with http:// or https://. Files are sent as
        they are, PIL images, arrays and tensors as PNG. Images over 6 MiB (4 MiB on serverless endpoints) are sent as
        JPEG with the longer side scaled to 2,048 pixels.

        Args:
            image: the image.
            timeout_seconds: how long to wait for the response.
            explain: also return where the image speaks for its class; not with `engine="openvino"`.
            class_name: the class to explain, as shown to people or as its folder is named; the best one if None.
            against: why the explained class and not this one.

        Raises:
            ConfigError: a class is named without `explain`.
            ImageError: the image can't be read on this machine.
            ModelError: the model's server refused it: it has no such class, for example, or can't explain.
            EndpointError: there is no response in time.
        """
        if not explain and (class_name, against) != (None, None):
            raise ConfigError("class_name and against choose what to explain: pass explain=True, too")
        asked = {"attributes": explanation_attributes(class_name, against)} if explain else {}
        body = file_of(image, terms_of(self.backend).max_body_bytes)
        answer = self.backend.invoke_endpoint(
            self.name, body, content_type=_SNIFFED, timeout_seconds=timeout_seconds, **asked
        )
        prediction = explained_prediction_of(answer) if explain else prediction_of(answer)
        if isinstance(image, (str, PathLike)) and not _is_url(image):
            return replace(prediction, image=Path(fsdecode(image)))
        return prediction

    @accept_old_keywords
    def predict_many(
        self,
        images: Iterable[AnyImage],
        *,
        concurrency: int = 8,
        progress: Callable[[int], None] | None = None,
        on_error: str = "raise",
        timeout_seconds: float = 60,
    ) -> list[Any]:
        """One prediction per image, in order, with concurrent requests.

        Args:
            images: what `predict` accepts.
            concurrency: how many requests run at a time.
            progress: called with the number of responses so far.
            on_error: `raise`, or `return` to get the error in place of the prediction.
            timeout_seconds: how long to wait for each response.
        """
        todo: Sequence[AnyImage] = list(images)

        def request(image: AnyImage) -> Prediction | BreedclfError:
            try:
                return self.predict(image, timeout_seconds=timeout_seconds)
            except BreedclfError as error:
                if on_error == "raise":
                    raise
                return error

        answers = []
        with ThreadPoolExecutor(max(1, concurrency)) as pool:
            futures = [pool.submit(request, image) for image in todo]
            try:
                for future in futures:
                    answers.append(future.result())
                    if progress is not None:
                        progress(len(answers))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return answers

    @accept_old_keywords
    def update(self, model: object, *, timeout_seconds: float | None = None) -> Self:
        """Replace the model without a failed request, and return the endpoint.

        The new model takes over once its predictions were found equal to the classifier's; until then, or if they
        differ, the old one keeps serving.

        Args:
            model: what `Deployment` accepts.
            timeout_seconds: how long to wait; defaults to what the backend may need.

        Raises:
            EndpointError: the update was rolled back; the message says why.
        """
        before = self.describe().failure_reason  # an earlier update may have been rolled back, too
        generation = self.backend.update_endpoint(self.name, artifact_of(model))
        description = self._wait(
            lambda now: (
                now.generation >= generation
                or (now.status is EndpointStatus.IN_SERVICE and now.rolled_back and now.failure_reason != before)
            ),
            timeout_seconds,
        )
        if description.generation < generation:
            raise EndpointError(f"endpoint {self.name}: {description.failure_reason}; the previous model keeps serving")
        return self

    @accept_old_keywords
    def delete(self, *, timeout_seconds: float | None = None) -> None:
        """Delete the endpoint, once it has answered the requests that it accepted.

        Raises:
            EndpointError: there is no such endpoint, or it isn't gone in time.
        """
        terms = terms_of(self.backend)
        limit = terms.end_seconds if timeout_seconds is None else timeout_seconds
        self.backend.delete_endpoint(self.name)
        until = self._clock.monotonic() + limit
        while self._existing() is not None:
            if self._clock.monotonic() > until:
                raise EndpointError(f"endpoint {self.name} still exists {limit:g} s after its deletion")
            self._clock.sleep(terms.poll_seconds)

    @accept_old_keywords
    def wait(self, *, timeout_seconds: float | None = None) -> Self:
        """Wait until the endpoint is in service, and return it.

        Args:
            timeout_seconds: how long to wait; defaults to what the backend may need.

        Raises:
            EndpointError: it failed, or isn't in service in time.
        """
        self._wait(lambda now: now.status is EndpointStatus.IN_SERVICE, timeout_seconds)
        return self

    def _wait(self, done: Callable[[EndpointDescription], bool], timeout_seconds: float | None) -> EndpointDescription:
        terms = terms_of(self.backend)
        limit = terms.start_seconds if timeout_seconds is None else timeout_seconds
        until = self._clock.monotonic() + limit
        while not done(now := self.describe()):
            if now.status is EndpointStatus.FAILED:
                raise EndpointError(f"endpoint {self.name} failed: {now.failure_reason}")
            if self._clock.monotonic() > until:
                raise EndpointError(f"endpoint {self.name} is still {now.status} after {limit:g} s; it goes on")
            self._clock.sleep(terms.poll_seconds)
        return now

    def _existing(self) -> EndpointDescription | None:
        try:
            return self.describe()
        except EndpointError:
            return None


def file_of(image: AnyImage, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """An image as a JPEG, PNG or WebP file of at most `max_bytes` bytes.

    Raises:
        ImageError: it can't be read.
    """
    from breedclf.data.any_image import given_image
    from breedclf.data.images import open_image, read_file, sniff_format, upright_rgb

    given = _download(image) if _is_url(image) else given_image(image)
    if not isinstance(given, Path | bytes):
        return _encoded(upright_rgb(given), max_bytes)
    data = given if isinstance(given, bytes) else read_file(given)
    if len(data) <= max_bytes and sniff_format(data) in _SENT_AS_THEY_ARE:
        return data
    return _encoded(open_image(data, name=str(given) if isinstance(given, Path) else None), max_bytes)


def _is_url(image: AnyImage) -> TypeGuard[str]:
    return isinstance(image, str) and image.startswith(("http://", "https://"))


def _encoded(image: Image.Image, max_bytes: int) -> bytes:
    from PIL import Image

    file = BytesIO()
    image.save(file, "PNG", compress_level=1)
    if file.tell() <= max_bytes:
        return file.getvalue()
    log.info("an image of %d x %d pixels is scaled down to fit into a request", *image.size)
    small = image.copy()
    small.thumbnail((_SHRUNK_SIDE_PX, _SHRUNK_SIDE_PX), Image.Resampling.LANCZOS)
    file = BytesIO()
    small.save(file, "JPEG", quality=95)
    return file.getvalue()


def _download(url: str) -> bytes:
    import urllib3

    try:
        with urllib3.PoolManager() as pool:
            response = pool.request("GET", url, timeout=_DOWNLOAD_SECONDS, preload_content=False)
            data: bytes = response.read(_MAX_DOWNLOAD_BYTES + 1)
            response.release_conn()
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise ImageError(f"{url} can't be read: {error}") from error
    if response.status != 200:
        raise ImageError(f"{url} can't be read: the server responded {response.status}")
    if len(data) > _MAX_DOWNLOAD_BYTES:
        raise ImageError(f"{url} can't be read: it is larger than {_MAX_DOWNLOAD_BYTES:,} bytes")
    return data
