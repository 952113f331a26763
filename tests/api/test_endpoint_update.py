"""`Endpoint.update` waits for its own update, whatever an earlier one left in the description."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from breedclf.api.endpoint import Endpoint
from breedclf.errors import EndpointError
from breedclf.jobs.endpoints import EndpointDescription, EndpointSpec, EndpointStatus
from tests.fakes import FakeClock


class SlowBackend:
    """A backend in memory that starts an update one description after it was requested, and finishes one later."""

    name = "slow"

    def __init__(self) -> None:
        self.bad: set[Path] = set()
        self._newest = 1
        self._pending: list[EndpointDescription] = []
        self._current = EndpointDescription("dogs", EndpointStatus.IN_SERVICE, 0.0, generation=1)

    def describe_endpoint(self, name: str) -> EndpointDescription:
        assert name == self._current.name
        shown = self._current
        if self._pending:
            self._current = self._pending.pop(0)
        return shown

    def update_endpoint(self, name: str, artifact: Path) -> int:
        assert name == self._current.name
        self._newest += 1
        updating = replace(self._current, status=EndpointStatus.UPDATING, failure_reason=None, rolled_back=False)
        if artifact in self.bad:
            reason = f"update {self._newest} was rolled back: wrong answers"
            after = replace(self._current, failure_reason=reason, rolled_back=True)
        else:
            after = replace(self._current, generation=self._newest, failure_reason=None, rolled_back=False)
        self._pending = [updating, after]
        return self._newest

    def create_endpoint(self, spec: EndpointSpec) -> None:
        raise NotImplementedError

    def list_endpoints(self) -> list[EndpointDescription]:
        return [self._current]

    def delete_endpoint(self, name: str) -> None:
        raise NotImplementedError

    def invoke_endpoint(
        self, name: str, body: bytes, *, content_type: str, timeout_seconds: float = 60, attributes: str = ""
    ) -> bytes:
        raise NotImplementedError


def test_an_earlier_rollback_is_not_taken_for_this_update(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    backend = SlowBackend()
    backend.bad = {bad}
    endpoint = Endpoint("dogs", backend, clock=FakeClock())
    for number in (2, 3):
        with pytest.raises(EndpointError, match=f"update {number} was rolled back: wrong answers"):
            endpoint.update(bad)
    assert endpoint.update(good).describe().generation == 4
