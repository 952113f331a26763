"""Endpoints: their requests of the last hour by the log, and views of sound, damaged and orphaned ones."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from breedclf import LocalBackend
from breedclf.backends.common.processes import Identity
from breedclf.backends.local.endpoint_folder import EndpointFolder, Order
from breedclf.backends.local.request_tally import MAX_READ_BYTES, RequestTally, logged_request
from breedclf.cli import main
from breedclf.jobs.endpoint_activity import Requests, activity_of
from breedclf.jobs.endpoints import EndpointDescription, EndpointStatus
from breedclf.overview.endpoints import about_model, endpoint_view, endpoint_views
from breedclf.serving.core import PARITY_ID

NOW = 1_700_000_040.0  # a whole minute


def line(time: float, status: int | None = 200, milliseconds: float = 20.0, **changed: Any) -> str:
    """A line of the log of an endpoint's server."""
    values = {
        "time": datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds"),
        "level": "info",
        "event": "request",
        "request_id": "0123456789abcdef",
        "method": "POST",
        "path": "/endpoints/dogs/invocations",
        "status": status,
        "milliseconds": milliseconds,
        **changed,
    }
    return json.dumps({name: value for name, value in values.items() if value is not None}) + "\n"


def endpoint_in(
    home: Path, name: str, *, alive: bool = True, details: dict[str, Any] | None = None, **changed: Any
) -> EndpointFolder:
    """An endpoint's folder whose supervisor is this process, or is gone."""
    folder = EndpointFolder(home / "endpoints" / name)
    folder.path.mkdir(parents=True)
    supervisor = Identity.of(os.getpid()).to_dict()
    found = EndpointDescription(name, EndpointStatus.IN_SERVICE, NOW, generation=1, details=details or {})
    folder.write_order(Order(name, 1, NOW, None, None, None, 0))
    folder.write_state(replace(found, **changed), supervisor if alive else {**supervisor, "create_time": 1.0})
    return folder


def test_requests_are_counted_by_minutes_and_only_new_lines_are_read(tmp_path: Path) -> None:
    log, tally = tmp_path / "log.txt", RequestTally()
    assert tally.activity(log, NOW, None).requests == 0
    lines = [line(NOW - 7200), line(NOW - 61, 400), line(NOW - 59), line(NOW - 1, 500, 400.0), line(NOW, None)]
    checks = [line(NOW, request_id=PARITY_ID), line(NOW, path="/ping"), "Traceback\n", '{"event": "request"']
    log.write_text("".join([*lines, *checks]))
    found = tally.activity(log, NOW, NOW)
    assert (found.requests, found.client_errors, found.server_errors) == (4, 1, 2)
    assert found.error_rate == 0.75
    assert [(each.start - NOW, each.requests) for each in found.minutes] == [(-120, 1), (-60, 2), (0, 1)]
    with log.open("a") as more:
        more.write(", " + line(NOW + 1)[1:])  # the rest of the last line
        more.write(line(NOW + 1))
    assert tally.activity(log, NOW + 1, NOW).requests == 6
    assert tally.activity(log, NOW + 3540, NOW).requests == 3
    assert tally.activity(log, NOW + 3600, NOW).requests == 0
    log.unlink()
    log.write_text(line(NOW))
    assert tally.activity(log, NOW, NOW).requests == 1, "another endpoint of the same name"


def test_of_a_log_of_a_gigabyte_the_end_is_read(tmp_path: Path) -> None:
    log, tally = tmp_path / "log.txt", RequestTally()
    last = "".join(line(NOW - 30) for _ in range(100))
    with log.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + last.encode())
    assert tally.activity(log, NOW, None).requests == 100
    busy = line(NOW).encode()
    with log.open("ab") as file:
        file.write(busy * (MAX_READ_BYTES // len(busy) + 100))
    found = tally.activity(log, NOW, None)
    assert 0 <= MAX_READ_BYTES // len(busy) + 100 - found.requests <= 1
    assert not found.is_complete
    assert tally.activity(log, NOW + 3700, None).is_complete


@pytest.mark.parametrize(
    "text",
    [
        b'{"event": "request", "path": "/invocations"}',
        b'{"event": "request", "path": "/invocations", "time": 3, "milliseconds": 1, "request_id": ""}',
        b'{"event": "request", "path": "/invocations", "time": "99999-01-01", "milliseconds": 1, "request_id": ""}',
        b'["event": "request", "/invocations"]',
        b'{"event": "request" "/invocations' + b"[" * 100_000,
        b'{"event": "request", "path": "/invocations/../about", "time": "2027-01-01", "milliseconds": 1}',
        b"\xff",
    ],
    ids=["short", "time", "year", "list", "deep", "path", "bytes"],
)
def test_lines_that_are_no_requests(text: bytes) -> None:
    assert logged_request(text) is None


def test_percentiles_are_within_a_percent() -> None:
    found = Requests()
    for milliseconds in range(1, 1001):
        found.add(200, float(milliseconds))
    latency = found.latency()
    assert latency is not None
    assert (latency.p50, latency.p90, latency.p99) == pytest.approx((500, 900, 990), rel=0.011)
    total = Requests.total([found, found])
    assert (total.count, total.latency()) == (2000, latency)
    assert activity_of({0: found}, 7200.0).requests == 0


def test_views_of_sound_damaged_and_orphaned_endpoints(tmp_path: Path) -> None:
    sound = endpoint_in(tmp_path, "sound", details={"idle_seconds": 60.0, "engine": "torch bf16"}, expires=NOW + 600)
    endpoint_in(tmp_path, "orphan", alive=False)
    (endpoint_in(tmp_path, "broken").path / "endpoint.json").write_text("{")
    backend = LocalBackend(tmp_path)
    found = {each.name: each for each in endpoint_views(backend)}
    assert {name: each.status for name, each in found.items()} == {
        "sound": "InService",
        "orphan": "Failed",
        "broken": "Damaged",
    }
    assert "its supervisor is gone" in (found["orphan"].description.failure_reason or "")
    assert (found["sound"].engine, found["sound"].idle_ends) == ("torch bf16", NOW + 60)
    sound.activity_file.touch()
    os.utime(sound.activity_file, (NOW + 30, NOW + 30))
    assert endpoint_view(backend, "sound").idle_ends == NOW + 90
    assert not found["orphan"].serves
    assert found["broken"].idle_ends is None


def test_the_list_of_the_command_line_has_the_same_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint_in(tmp_path, "dogs", expires=NOW).log_file.write_text(line(NOW))
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path))
    assert main(["endpoints", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    backend = LocalBackend(tmp_path)
    assert listed == [json.loads(json.dumps(each.to_dict())) for each in endpoint_views(backend)]
    described = backend.describe_endpoint("dogs").to_dict()
    assert listed[0] == {**listed[0], **json.loads(json.dumps(described))}, "what there was stays"
    assert main(["endpoints", "list"]) == 0
    assert capsys.readouterr().out.split()[6:] == ["dogs", "InService", "-", "0", "min"]


def test_the_model_of_an_endpoint_is_asked_on_this_machine_alone() -> None:
    backend = LocalBackend("nowhere")
    assert about_model(backend, "http://example.invalid").to_dict() == about_model(backend, None).to_dict()
    assert about_model(backend, "http://127.0.0.1:1").max_body_bytes == 6 << 20
