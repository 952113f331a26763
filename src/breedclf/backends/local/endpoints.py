"""`LocalEndpoints`: endpoints in processes of this machine."""

from __future__ import annotations

import functools
import os
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from breedclf.backends.common.locks import locked
from breedclf.backends.common.model_files import require_model
from breedclf.backends.common.processes import Identity, run_supervisor
from breedclf.backends.local.endpoint_folder import EndpointFolder, Order, failed
from breedclf.backends.local.request_tally import RequestTally
from breedclf.errors import ConfigError, EndpointError, ModelError
from breedclf.files.disk import refusal
from breedclf.files.private_folder import make_private
from breedclf.jobs import check_name, is_name
from breedclf.jobs.endpoint_activity import EndpointActivity
from breedclf.jobs.endpoints import EndpointDescription, EndpointSpec, EndpointStatus

if TYPE_CHECKING:
    import urllib3

SUPERVISOR = "breedclf.backends.local.endpoint_supervisor"
_ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"
_CONNECT_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


class LocalEndpoints:
    """Runs each endpoint as a process of its own behind a socket that outlives it, in `<home>/endpoints/<name>`.

    An endpoint ends with the process that created it, unless it is detached. A request without an answer because its
    worker died or was replaced is sent again.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._root = home / "endpoints"

    def __getstate__(self) -> dict[str, Path]:
        """Without the connections, which stay in this process."""
        return {"_home": self._home, "_root": self._root}

    def create(self, spec: EndpointSpec) -> None:
        """Start serving a model on a loopback port.

        Raises:
            ConfigError: the name is taken.
            ArtifactError: the folder holds no model.
            EndpointError: the model can't be copied, or the supervisor didn't start.
        """
        folder = self._folder(spec.name)
        make_private(self._home)
        folder.path.parent.mkdir(parents=True, exist_ok=True)
        require_model(spec.artifact)
        with locked(folder.lock_file):
            if folder.path.exists():
                if self._refreshed(folder).status is not EndpointStatus.FAILED:
                    raise ConfigError(
                        f"endpoint name {spec.name!r} is taken; update that endpoint, delete it "
                        f"(`breedclf endpoints delete {spec.name}`), or choose another name"
                    )
                folder.remove()
            folder.path.mkdir()
            now = time.time()
            folder.copy_model(1, spec.artifact)
            folder.write_order(
                Order(
                    name=spec.name,
                    generation=1,
                    created=now,
                    expires=None if spec.ttl_seconds is None else now + spec.ttl_seconds,
                    idle_seconds=spec.idle_seconds,
                    parent=None if spec.detach else Identity.of(os.getpid()).to_dict(),
                    port=spec.port,
                    engine=spec.engine.to_dict(),
                )
            )
            _start_supervisor(folder)

    def describe(self, name: str) -> EndpointDescription:
        """The state that the supervisor reported last; Failed if the supervisor is gone.

        Raises:
            EndpointError: there is no such endpoint.
        """
        folder = self._folder(name)
        if not folder.path.is_dir():
            raise EndpointError(
                f"there is no endpoint {name!r} in {folder.path.parent}; `breedclf endpoints list` shows all, "
                "BREEDCLF_HOME selects another folder"
            )
        return self._refreshed(folder)

    def describe_all(self) -> list[EndpointDescription]:
        """All endpoints, oldest first."""
        paths = self._root.iterdir() if self._root.is_dir() else ()
        folders = [path for path in paths if path.is_dir() and is_name(path.name)]
        return sorted((self._refreshed(EndpointFolder(path)) for path in folders), key=lambda each: each.created)

    def update(self, name: str, artifact: Path) -> int:
        """Start replacing the model and return the new generation; the old model answers until the new one is checked.

        Raises:
            EndpointError: there is no such endpoint, or it isn't in service.
            ArtifactError: the folder holds no model.
        """
        folder = self._folder(name)
        require_model(artifact)
        status = self.describe(name).status
        if status is not EndpointStatus.IN_SERVICE:
            raise EndpointError(f"endpoint {name} is {status}; it can be updated once it is InService")
        with locked(folder.lock_file):
            order = self._order(folder)
            folder.copy_model(order.generation + 1, artifact)
            folder.write_order(replace(order, generation=order.generation + 1))
            return order.generation + 1

    def delete(self, name: str) -> None:
        """Shut the endpoint down after it has answered the requests it accepted; of a failed one, delete the folder.

        Raises:
            EndpointError: there is no such endpoint.
        """
        folder = self._folder(name)
        if self.describe(name).status is EndpointStatus.FAILED:
            folder.remove()
        else:
            with locked(folder.lock_file):
                try:
                    folder.write_order(replace(self._order(folder), delete=True))
                except EndpointError:  # a damaged order: its supervisor ends when the folder is gone
                    folder.remove()
        folder.lock_file.unlink(missing_ok=True)

    def invoke(
        self, name: str, body: bytes, *, content_type: str, timeout_seconds: float, attributes: str = ""
    ) -> bytes:
        """Send a request; retry after a full queue or a lost connection until `timeout_seconds` have passed.

        Raises:
            ModelError: the model's server refused it.
            EndpointError: there is no such endpoint, it has failed, or there was no answer in time.
        """
        import urllib3  # not needed by jobs

        until = time.monotonic() + timeout_seconds
        headers = {"Content-Type": content_type, **({_ATTRIBUTES_HEADER: attributes} if attributes else {})}
        pause, last = _FIRST_PAUSE_SECONDS, "no attempt was made"
        while (left := until - time.monotonic()) > 0:
            url = self._url(name)
            try:
                response = self._pool.request(
                    "POST",
                    f"{url}/endpoints/{name}/invocations",
                    body=body,
                    headers=headers,
                    timeout=urllib3.Timeout(connect=min(_CONNECT_SECONDS, left), read=left),
                )
            except urllib3.exceptions.HTTPError as error:
                last = f"{type(error).__name__}"
            else:
                if response.status == 200:
                    return response.data
                if response.status != 503:
                    raise ModelError(response.status, response.data.decode(errors="replace"))
                last = response.data.decode(errors="replace")
            time.sleep(max(0.0, min(pause, until - time.monotonic())))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        raise EndpointError(f"endpoint {name} gave no answer within {timeout_seconds:g} s ({last})")

    def activity(self, name: str) -> EndpointActivity:
        """The requests of the last hour, by the endpoint's log.

        Raises:
            EndpointError: the log can't be read.
        """
        folder = self._folder(name)
        last = folder.last_activity(0.0) or None
        try:
            return self._tallies[name].activity(folder.log_file, time.time(), last)
        except OSError as error:
            raise EndpointError(f"{folder.log_file} can't be read: {refusal(error)}") from error

    @functools.cached_property
    def _tallies(self) -> defaultdict[str, RequestTally]:
        return defaultdict(RequestTally)

    @functools.cached_property
    def _pool(self) -> urllib3.PoolManager:
        import urllib3

        return urllib3.PoolManager(maxsize=64, retries=False)

    def _url(self, name: str) -> str:
        description = self.describe(name)
        if description.url is None or description.status is EndpointStatus.FAILED:
            raise EndpointError(
                f"endpoint {name} is {description.status}: {description.failure_reason or 'wait for it'}"
            )
        return description.url

    def _folder(self, name: str) -> EndpointFolder:
        return EndpointFolder(self._root / check_name(name))

    def _order(self, folder: EndpointFolder) -> Order:
        order = folder.read_order()
        if order is None:
            raise EndpointError(f"endpoint {folder.name} is gone")
        return order

    def _refreshed(self, folder: EndpointFolder) -> EndpointDescription:
        """The reported state; Failed if the folder is damaged or the supervisor is gone."""
        try:
            state = folder.read_state()
            order = folder.read_order() if state is None else None
        except EndpointError as error:
            created = folder.path.stat().st_mtime
            damaged = EndpointDescription(folder.name, EndpointStatus.FAILED, created, details={"damaged": True})
            return failed(damaged, str(error))
        if state is None:
            blank = EndpointDescription(folder.name, EndpointStatus.CREATING, order.created if order else 0.0)
            return blank if order else failed(blank, "it was never started; `breedclf endpoints reap` deletes it")
        description, supervisor = state
        if description.status is EndpointStatus.FAILED or Identity.from_dict(supervisor).is_alive:
            return description
        return failed(description, "its supervisor is gone; `breedclf endpoints reap` deletes it, then deploy again")


def _start_supervisor(folder: EndpointFolder) -> None:
    """Start the supervisor; it has reported its first state when this returns."""
    if run_supervisor(SUPERVISOR, folder.path, folder.log_file, os.environ):
        raise EndpointError(f"the endpoint's supervisor didn't start; see {folder.log_file}")
