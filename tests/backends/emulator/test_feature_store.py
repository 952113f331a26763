"""A feature store in S3 as users meet its failures: over HTTP, with boto3's own settings."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from breedclf.backends.emulator.server import Emulator
from breedclf.cli import main
from breedclf.errors import ConfigError
from breedclf.features.remote.bucket import Bucket
from breedclf.features.remote.store import RemoteStore
from tests.backends.conftest import Clients, asked, switch
from tests.integration.conftest import write_patterns


def problem(uri: str) -> str:
    with pytest.raises(ConfigError) as error:
        RemoteStore.open(uri)
    return str(error.value)


@pytest.mark.parametrize(
    ("operation", "permission"),
    [("ListObjectsV2", "s3:ListBucket"), ("GetObject", "s3:GetObject"), ("PutObject", "s3:PutObject")],
)
def test_a_missing_permission_is_named_at_the_start(
    quick: Emulator, quick_bucket: str, operation: str, permission: str
) -> None:
    switch(quick, "faults", operation=f"s3:{operation}", preset="access-denied", times=None)
    found = problem(f"s3://{quick_bucket}/features")
    asked(quick, "DELETE", "/_emulator/faults")
    assert f"feature_store=s3://{quick_bucket}/features can't be used: {operation} of s3://{quick_bucket}" in found
    assert f"missing permission {permission} on bucket {quick_bucket}" in found
    assert f"`breedclf sagemaker policy --feature-store s3://{quick_bucket}/features`" in found


def test_a_bucket_that_does_not_exist_and_a_uri_without_prefix(quick_bucket: str) -> None:
    assert "bucket no-such-bucket does not exist; create it with `aws s3 mb" in problem("s3://no-such-bucket/features")
    assert f"has no prefix: use s3://{quick_bucket}/PREFIX" in problem(f"s3://{quick_bucket}")
    assert "has the part '..', which S3 takes literally" in problem(f"s3://{quick_bucket}/a/../b")


def test_a_bucket_of_another_region_is_refused(quick_client: Clients, quick_bucket: str) -> None:
    name = f"{quick_bucket}-eu"
    quick_client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert f"bucket {name} is in eu-west-1, and this runs in us-east-1" in problem(f"s3://{name}/features")


def test_a_store_of_a_later_version_or_a_damaged_marker_is_refused(quick_client: Clients, quick_bucket: str) -> None:
    for body, message in ((b'{"format": 2}', "a later version of breedclf has written it"), (b"{", "is damaged")):
        quick_client("s3").put_object(Bucket=quick_bucket, Key="features/feature-store.json", Body=body)
        assert message in problem(f"s3://{quick_bucket}/features")


def test_a_service_without_conditional_writes_is_reported(
    quick: Emulator, quick_bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    switch(quick, "faults", operation="s3:PutObject", code="NotImplemented", status=501, times=1)
    RemoteStore.open(f"s3://{quick_bucket}/one")
    assert "doesn't support conditional writes: jobs that run at once compute the same images" in caplog.text
    caplog.clear()
    plain = Bucket.put_if  # a service that ignores the condition, as older ones do

    def ignoring(bucket: Bucket, name: str, body: bytes, etag: str | None) -> str | None:
        bucket.put(name, body)
        return f"not {etag}"

    monkeypatch.setattr(Bucket, "put_if", ignoring)
    RemoteStore.open(f"s3://{quick_bucket}/other")
    monkeypatch.setattr(Bucket, "put_if", plain)
    assert "doesn't support conditional writes" in caplog.text
    caplog.clear()
    RemoteStore.open(f"s3://{quick_bucket}/other")
    assert not caplog.records


def arguments(images: Path, bucket: str, folder: Path, *more: str) -> list[str]:
    """A training run with a cache of its own, as on a machine of its own."""
    return [
        *("train", str(images), "--architecture", "resnet18", "--weights", "none", "--epochs", "1", "--quiet"),
        *("--precision", "fp32"),
        *("--feature-store", f"s3://{bucket}/features", "--cache-dir", str(folder / "cache")),
        *("--output", str(folder / "out"), "--json", *more),
    ]


def features_of(images: Path, bucket: str, folder: Path, *more: str) -> dict[str, int]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(arguments(images, bucket, folder, *more)) == 0
    found: dict[str, int] = json.loads(printed.getvalue())["features"]
    return found


def test_runs_on_different_machines_compute_each_image_once(
    quick_bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_patterns(tmp_path / "images")
    first = features_of(images, quick_bucket, tmp_path / "first")
    second = features_of(images, quick_bucket, tmp_path / "second")
    assert first["reused"] == second["computed"] == 0
    assert second["reused"] == first["computed"] > 0
    one, other = ((tmp_path / each / "out/model/model.safetensors").read_bytes() for each in ("first", "second"))
    assert one == other
    assert main(arguments(images, "no-such-bucket", tmp_path / "third")) == ConfigError.exit_code
    assert "bucket no-such-bucket does not exist" in capsys.readouterr().err


def stored_in(store: Path) -> int:
    """The number of images in the index of the one set of a store on this machine."""
    for index in store.glob("*/index.sqlite"):
        with contextlib.closing(sqlite3.connect(index)) as database, contextlib.suppress(sqlite3.OperationalError):
            return int(database.execute("SELECT COUNT(*) FROM images").fetchone()[0])
    return 0


@pytest.mark.slow
def test_a_run_that_is_stopped_in_its_pass_leaves_what_it_computed(quick_bucket: str, tmp_path: Path) -> None:
    images = write_patterns(tmp_path / "images", counts={"train": 100, "valid": 4})
    chunks = ("--chunk-size", "8", "--workers", "0")
    words = arguments(images, quick_bucket, tmp_path / "first", *chunks)
    with subprocess.Popen([sys.executable, "-m", "breedclf", *words], env=os.environ) as first:
        store = tmp_path / "first/cache/feature-store"
        while not stored_in(store):
            assert first.poll() is None
            time.sleep(0.02)
        first.send_signal(signal.SIGTERM)
    second = features_of(images, quick_bucket, tmp_path / "second", *chunks)
    assert second["reused"] == stored_in(store) >= 64
    assert second["computed"] == 208 - second["reused"]
