"""State files of earlier versions, which had no field for a lost job or an update that was rolled back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from breedclf.backends.common.folder import create_job_folder
from breedclf.backends.common.processes import Identity
from breedclf.backends.local.backend import LocalBackend
from breedclf.backends.local.endpoint_folder import EndpointFolder, Order
from breedclf.jobs import JobSpec
from breedclf.jobs.endpoints import EndpointDescription, EndpointStatus


@pytest.mark.parametrize(
    ("reason", "lost"),
    [
        ("supervisor lost: the process that looked after the job was killed or the machine restarted", True),
        ("the job's process ended with exit code 7; the last line of its log: supervisor lost", False),
        (None, False),
    ],
)
def test_a_lost_job_is_known_by_its_reason(tmp_path: Path, reason: str | None, lost: bool) -> None:
    file = create_job_folder(tmp_path, JobSpec(name="job"), backend="local", options={}, now=1000.0).state_file
    values = json.loads(file.read_text())
    del values["description"]["lost"]
    values["description"] |= {"status": "Failed", "secondary_status": "Failed", "failure_reason": reason}
    file.write_text(json.dumps(values))
    backend = LocalBackend(tmp_path)
    assert backend.describe("job").lost is lost
    assert backend.list_jobs()[0].lost is lost


@pytest.mark.parametrize(
    ("reason", "rolled_back"),
    [("update 2 was rolled back: its process ended with 1", True), (None, False)],
)
def test_an_update_that_was_rolled_back_is_known_by_its_reason(
    tmp_path: Path, reason: str | None, rolled_back: bool
) -> None:
    folder = EndpointFolder(tmp_path / "endpoints" / "dogs")
    folder.path.mkdir(parents=True)
    folder.write_order(Order("dogs", 2, 1000.0, None, None, None, 0))
    description = EndpointDescription("dogs", EndpointStatus.IN_SERVICE, 1000.0, failure_reason=reason)
    values = description.to_dict()
    del values["rolled_back"]
    state = {"version": 1, "description": values, "supervisor": Identity.of(os.getpid()).to_dict()}
    (folder.path / "endpoint.json").write_text(json.dumps(state))
    assert LocalBackend(tmp_path).describe_endpoint("dogs").rolled_back is rolled_back
