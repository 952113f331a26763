"""`Endpoint`: ask a deployed model, replace it, take it down; by name, from any process and on any back end."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from breedclf.errors import BreedclfError, EndpointError, ImageError
from breedclf.files.paths import user_path
from breedclf.files.typed import typed
from breedclf.inference.prediction import Prediction, RankedClass
from breedclf.jobs import check_name
from breedclf.jobs.endpoints import (
    EndpointDescription,
    EndpointStatus,
    EndpointTerms,
    ServingBackend,
    artifact_of,
    terms_of,
)
from breedclf.jobs.handle import Clock

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]

log = logging.getLogger(__name__)

MAX_BODY_BYTES = EndpointTerms.max_body_bytes
_SNIFFED = "application/x-image"
_SENT_AS_THEY_ARE = ("JPEG", "PNG", "WebP")
_ROUNDING = 0.01
_SHRUNK_SIDE_PX = 2048
_DOWNLOAD_SECONDS = 20.0
_MAX_DOWNLOAD_BYTES = 64 << 20


class Endpoint:
    """A deployed model, known by its name. As a context manager it takes the endpoint down at the end.

    Example:
        >>> with Deployment("runs/dogs/model").deploy() as endpoint:  # doctest: +SKIP
        ...     endpoint.predict("dog.jpg").top(5)
    """

    def __init__(self, name: str, backend: ServingBackend, *, clock: Clock = time) -> None:
        self.name = check_name(name)
        self.backend = backend
        self._clock = clock

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, backend={self.backend.name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._there() is not None:
            self.delete()

    def describe(self) -> EndpointDescription:
        """Everything the back end knows about the endpoint now."""
        return self.backend.describe_endpoint(self.name)

    @property
    def status(self) -> EndpointStatus:
        """Creating, InService, Updating, RollingBack, Deleting or Failed."""
        return self.describe().status

    @property
    def url(self) -> str | None:
        """Where it answers over HTTP, if it can be reached by an address."""
        return self.describe().url

    def predict(self, picture: Picture, *, timeout: float = 60) -> Prediction:
        """Rank the classes for one picture.

        A picture is a path, the bytes of a file, a PIL image, a uint8 array [height, width] or [height, width, 3 or 4],
        or an address beginning with http:// or https://. Files travel compressed, as they are; PIL images and arrays as
        PNG. A file over 6 MiB (4 MiB on serverless endpoints) is sent smaller, with its longer side at 2,048 pixels.

        Raises:
            ImageError: the picture can't be read here.
            ModelError: the model's server refused it.
            EndpointError: there is no answer in time.
        """
        body = file_of(picture, terms_of(self.backend).max_body_bytes)
        answer = self.backend.invoke_endpoint(self.name, body, content_type=_SNIFFED, timeout_seconds=timeout)
        return prediction_of(answer)

    def predict_many(
        self,
        pictures: Iterable[Picture],
        *,
        concurrency: int = 8,
        progress: Callable[[int], None] | None = None,
        on_error: str = "raise",
        timeout: float = 60,
    ) -> list[Any]:
        """One prediction a picture, in order, asked side by side.

        Args:
            pictures: what `predict` takes.
            concurrency: how many are asked at a time.
            progress: called with the number of answers so far.
            on_error: `raise`, or `return` to get the error in the place of its prediction.
            timeout: seconds for each.
        """
        todo: Sequence[Picture] = list(pictures)

        def ask(picture: Picture) -> Prediction | BreedclfError:
            try:
                return self.predict(picture, timeout=timeout)
            except BreedclfError as error:
                if on_error == "raise":
                    raise
                return error

        answers = []
        with ThreadPoolExecutor(max(1, concurrency)) as pool:
            futures = [pool.submit(ask, picture) for picture in todo]
            try:
                for future in futures:
                    answers.append(future.result())
                    if progress is not None:
                        progress(len(answers))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return answers

    def update(self, model: object, *, timeout: float | None = None) -> Self:
        """Replace the model without a failed request, and return the endpoint.

        The new model takes over once it answers like itself asked directly; until then, and if it doesn't, the old one
        goes on.

        Args:
            model: what `Deployment` takes.
            timeout: seconds to wait for it; as long as the back end may need if not given.

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
            timeout,
        )
        if description.generation < generation:
            raise EndpointError(
                f"endpoint {self.name}: {description.failure_reason}; the model before goes on answering"
            )
        return self

    def delete(self, *, timeout: float | None = None) -> None:
        """Take the endpoint down, once it has answered what it took.

        Raises:
            EndpointError: there is no such endpoint, or it is still there when the time is over.
        """
        terms = terms_of(self.backend)
        timeout = terms.end_seconds if timeout is None else timeout
        self.backend.delete_endpoint(self.name)
        until = self._clock.monotonic() + timeout
        while self._there() is not None:
            if self._clock.monotonic() > until:
                raise EndpointError(f"endpoint {self.name} is still there {timeout:g} s after it was told to go")
            self._clock.sleep(terms.poll_seconds)

    def wait(self, *, timeout: float | None = None) -> Self:
        """Wait until the endpoint is in service, and return it.

        Args:
            timeout: seconds to wait; as long as the back end may need if not given.

        Raises:
            EndpointError: it failed, or isn't in service in time.
        """
        self._wait(lambda now: now.status is EndpointStatus.IN_SERVICE, timeout)
        return self

    def _wait(self, done: Callable[[EndpointDescription], bool], timeout: float | None) -> EndpointDescription:
        terms = terms_of(self.backend)
        timeout = terms.start_seconds if timeout is None else timeout
        until = self._clock.monotonic() + timeout
        while not done(now := self.describe()):
            if now.status is EndpointStatus.FAILED:
                raise EndpointError(f"endpoint {self.name} failed: {now.failure_reason}")
            if self._clock.monotonic() > until:
                raise EndpointError(f"endpoint {self.name} is still {now.status} after {timeout:g} s; it goes on")
            self._clock.sleep(terms.poll_seconds)
        return now

    def _there(self) -> EndpointDescription | None:
        try:
            return self.describe()
        except EndpointError:
            return None


def prediction_of(answer: bytes) -> Prediction:
    """The prediction that a server's answer about one picture tells.

    Raises:
        EndpointError: it isn't one, or its probabilities aren't from 0 to 1.
    """
    try:
        found = typed(_Answer, json.loads(answer))
    except (ValueError, RecursionError) as error:
        raise EndpointError(f"the model's server gave an answer that can't be read: {error}") from error
    if not found.predictions or not all(-_ROUNDING <= each.probability <= 1 + _ROUNDING for each in found.predictions):
        raise EndpointError("the model's server gave an answer without probabilities from 0 to 1; check its model")
    return Prediction(found.predictions, known=found.known)


@dataclass(frozen=True)
class _Answer:
    predictions: tuple[RankedClass, ...]
    known: bool = True


def file_of(picture: Picture, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """A picture as a JPEG, PNG or WebP file of at most so many bytes.

    Raises:
        ImageError: it can't be read.
    """
    from PIL import Image

    from breedclf.data.images import image_from_array, open_image, read_file, sniff_format, upright_rgb

    data: bytes | None = None
    if isinstance(picture, str) and picture.startswith(("http://", "https://")):
        data = _download(picture)
    elif isinstance(picture, (str, Path)):
        data = read_file(user_path(picture, "picture"))
    elif isinstance(picture, (bytes, bytearray)):
        data = bytes(picture)
    if data is not None:
        if len(data) <= max_bytes and sniff_format(data) in _SENT_AS_THEY_ARE:
            return data
        name = str(picture) if isinstance(picture, (str, Path)) else "the given bytes"
        return _encoded(open_image(data, name=name), max_bytes)
    if isinstance(picture, Image.Image):
        return _encoded(upright_rgb(picture), max_bytes)
    if hasattr(picture, "dtype"):
        return _encoded(image_from_array(picture), max_bytes)  # type: ignore[arg-type]
    raise ImageError(
        f"a picture must be a path, bytes, a PIL image, a uint8 array or a URL, not {type(picture).__name__}"
    )


def _encoded(picture: Image.Image, max_bytes: int) -> bytes:
    from PIL import Image

    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    if file.tell() <= max_bytes:
        return file.getvalue()
    log.info("a picture of %d x %d pixels is sent smaller, to fit into a request", *picture.size)
    small = picture.copy()
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
        raise ImageError(f"{url} can't be read: the server there answers {response.status}")
    if len(data) > _MAX_DOWNLOAD_BYTES:
        raise ImageError(f"{url} can't be read: it is longer than {_MAX_DOWNLOAD_BYTES:,} bytes")
    return data
