"""Endpoints in processes of this machine: the part of the local back ends that serves."""

from __future__ import annotations

import functools
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from breedclf.backends.local.endpoint_folder import MODEL_FILES, EndpointFolder, Order, failed
from breedclf.backends.local.locks import locked
from breedclf.backends.local.processes import Identity, run_supervisor
from breedclf.errors import ArtifactError, ConfigError, EndpointError, ModelError
from breedclf.files.private_folder import make_private
from breedclf.jobs import is_name
from breedclf.jobs.endpoints import EndpointDescription, EndpointSpec, EndpointStatus

if TYPE_CHECKING:
    import urllib3

SUPERVISOR = "breedclf.backends.local.endpoint_supervisor"
_CONNECT_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


class LocalEndpoints:
    """Runs each endpoint as a process of its own behind a socket that outlives it, in `<home>/endpoints/<name>`.

    An endpoint ends with the process that created it, unless it is detached. Requests that a dying or replaced process
    leaves unanswered are sent again.
    """

    home: Path

    def create_endpoint(self, spec: EndpointSpec) -> None:
        """Begin to serve a model on a loopback port.

        Raises:
            ConfigError: the name is taken.
            ArtifactError: the folder holds no model.
            EndpointError: the model can't be copied, or nothing can be started.
        """
        folder = self._folder(spec.name)
        make_private(self.home)
        folder.path.parent.mkdir(parents=True, exist_ok=True)
        _require_model(spec.artifact)
        with locked(folder.lock_file):
            if folder.path.exists():
                if self._settled(folder).status is not EndpointStatus.FAILED:
                    raise ConfigError(
                        f"endpoint name {spec.name!r} is taken; update that endpoint, delete it "
                        f"(`breedclf endpoints delete {spec.name}`), or choose another name"
                    )
                folder.remove()
            folder.path.mkdir()
            now = time.time()
            folder.keep_model(1, spec.artifact)
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

    def describe_endpoint(self, name: str) -> EndpointDescription:
        """What its supervisor reported last; Failed when that is gone.

        Raises:
            EndpointError: there is no such endpoint.
        """
        folder = self._folder(name)
        if not folder.path.is_dir():
            raise EndpointError(
                f"there is no endpoint {name!r} in {folder.path.parent}; `breedclf endpoints list` shows all, "
                "BREEDCLF_HOME chooses another place"
            )
        return self._settled(folder)

    def list_endpoints(self) -> list[EndpointDescription]:
        """All endpoints, the oldest first."""
        root = self.home / "endpoints"
        folders = [path for path in root.iterdir() if path.is_dir() and is_name(path.name)] if root.is_dir() else []
        return sorted((self._settled(EndpointFolder(path)) for path in folders), key=lambda each: each.created)

    def update_endpoint(self, name: str, artifact: Path) -> int:
        """Begin to replace the model; the old one answers until the new one has passed its check.

        Raises:
            EndpointError: there is no such endpoint, or it isn't in service.
            ArtifactError: the folder holds no model.
        """
        folder = self._folder(name)
        _require_model(artifact)
        status = self.describe_endpoint(name).status
        if status is not EndpointStatus.IN_SERVICE:
            raise EndpointError(f"endpoint {name} is {status}; it can be updated once it is InService")
        with locked(folder.lock_file):
            order = self._order(folder)
            folder.keep_model(order.generation + 1, artifact)
            folder.write_order(replace(order, generation=order.generation + 1))
            return order.generation + 1

    def delete_endpoint(self, name: str) -> None:
        """Take it down once it has answered what it took; one that is dead is just forgotten.

        Raises:
            EndpointError: there is no such endpoint.
        """
        folder = self._folder(name)
        if self.describe_endpoint(name).status is EndpointStatus.FAILED:
            folder.remove()
        else:
            with locked(folder.lock_file):
                try:
                    folder.write_order(replace(self._order(folder), delete=True))
                except EndpointError:  # a damaged order: its supervisor ends when the folder is gone
                    folder.remove()
        folder.lock_file.unlink(missing_ok=True)

    def reap_endpoints(self) -> list[str]:
        """Forget endpoints that have failed or whose processes are gone; return their names."""
        gone = [each.name for each in self.list_endpoints() if each.status is EndpointStatus.FAILED]
        for name in gone:
            self.delete_endpoint(name)
        return gone

    def invoke_endpoint(self, name: str, body: bytes, *, content_type: str, timeout_seconds: float = 60) -> bytes:
        """Send a request; one that meets a full queue or a dying process is sent again until the time is over.

        Raises:
            ModelError: the model's server refused it.
            EndpointError: there is no such endpoint, it has failed, or there is no answer in time.
        """
        import urllib3  # jobs don't need it

        until = time.monotonic() + timeout_seconds
        pause, last = _FIRST_PAUSE_SECONDS, "nothing was tried"
        while (left := until - time.monotonic()) > 0:
            url = self._url(name)
            try:
                response = self._pool.request(
                    "POST",
                    f"{url}/endpoints/{name}/invocations",
                    body=body,
                    headers={"Content-Type": content_type},
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

    @functools.cached_property
    def _pool(self) -> urllib3.PoolManager:
        import urllib3

        return urllib3.PoolManager(maxsize=64, retries=False)

    def _url(self, name: str) -> str:
        description = self.describe_endpoint(name)
        if description.url is None or description.status is EndpointStatus.FAILED:
            raise EndpointError(
                f"endpoint {name} is {description.status}: {description.failure_reason or 'wait for it'}"
            )
        return description.url

    def _folder(self, name: str) -> EndpointFolder:
        return EndpointFolder(self.home / "endpoints" / EndpointSpec(name, Path()).name)

    def _order(self, folder: EndpointFolder) -> Order:
        order = folder.read_order()
        if order is None:
            raise EndpointError(f"endpoint {folder.name} is gone")
        return order

    def _settled(self, folder: EndpointFolder) -> EndpointDescription:
        """What was reported last, corrected when nobody is left to report."""
        try:
            state = folder.read_state()
            order = folder.read_order() if state is None else None
        except EndpointError as error:
            return failed(
                EndpointDescription(folder.name, EndpointStatus.FAILED, folder.path.stat().st_mtime), str(error)
            )
        if state is None:
            blank = EndpointDescription(folder.name, EndpointStatus.CREATING, order.created if order else 0.0)
            return blank if order else failed(blank, "it was never started; `breedclf endpoints reap` forgets it")
        description, supervisor = state
        ended = description.status is EndpointStatus.FAILED
        if ended or Identity.from_dict(supervisor).is_alive:
            return description
        return failed(description, "its supervisor is gone; `breedclf endpoints reap` forgets it, deploy it again")


def _require_model(artifact: Path) -> None:
    """Refuse early what is plainly no model; whether it is whole, the worker checks."""
    missing = [name for name in MODEL_FILES if not (artifact / name).is_file()]
    if missing:
        raise ArtifactError(
            f"{artifact} is not a breedclf model: it has no {missing[0]} (a training writes OUTPUT/model)"
        )


def _start_supervisor(folder: EndpointFolder) -> None:
    """Start it; it detaches itself and has reported when this returns."""
    if run_supervisor(SUPERVISOR, folder.path, folder.log_file, os.environ):
        raise EndpointError(f"the endpoint's supervisor didn't start; {folder.log_file} tells why")
