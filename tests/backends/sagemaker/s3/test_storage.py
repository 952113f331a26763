"""Objects whose names stand for their content: what somebody else put in their place is found and written over."""

from __future__ import annotations

import io
import logging
import tarfile
from pathlib import Path

import pytest

from breedclf.backends.emulator.server import Emulator
from breedclf.backends.sagemaker.endpoints.served_model import ServedModel
from breedclf.backends.sagemaker.s3.storage import Storage
from breedclf.backends.sagemaker.training.inputs import Inputs
from breedclf.jobs import JobSpec
from tests.backends.conftest import Clients
from tests.backends.sagemaker.contexts import backend_at
from tests.backends.sagemaker.job_requests import archive_of
from tests.serving.conftest import write_tiny_model


@pytest.fixture
def storage(quick_client: Clients) -> Storage:
    return Storage(quick_client("s3"))


@pytest.mark.parametrize("size", [0, 5, 9 << 20])
def test_the_same_content_is_sent_once(
    size: int, storage: Storage, quick: Emulator, quick_bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = b"x" * size
    (tmp_path / "file").write_bytes(content)
    uri = f"s3://{quick_bucket}/name"
    storage.ensure(uri, content)
    storage.ensure(uri, tmp_path / "file")
    storage.ensure(uri, content)
    sent = [each["operation"] for each in quick.plane.faults.calls() if each["operation"].startswith(("Put", "Create"))]
    assert sent == ["CreateBucket", "PutObject"]
    assert storage.get(uri) == content
    assert caplog.records == []


def test_different_content_is_overwritten_with_a_warning(
    storage: Storage, quick_client: Clients, quick_bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    s3, uri = quick_client("s3"), f"s3://{quick_bucket}/name"
    storage.ensure(uri, b"ours!")
    for other in ({"ChecksumAlgorithm": "SHA256"}, {}):
        s3.put_object(Bucket=quick_bucket, Key="name", Body=b"other", **other)
        storage.ensure(uri, b"ours!")
        assert storage.get(uri) == b"ours!"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]  # without a hash it may be an old one
    assert f"{uri} did not match its content digest" in caplog.text
    s3.put_object(Bucket=quick_bucket, Key="name", Body=b"longer than ours")
    storage.ensure(uri, b"ours!")
    assert len(caplog.records) == 2


def test_a_jobs_code_that_was_exchanged_in_s3_is_never_run(
    quick: Emulator, quick_client: Clients, quick_bucket: str, tmp_path: Path
) -> None:
    """Even by a backend that uploaded it itself."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text("print('ours')\n")
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"weights")
    inputs = Inputs(backend_at(quick, quick_bucket, tmp_path / "home").context)
    spec = JobSpec(name="mine", source=source, channels={"weights": weights})
    places = inputs.sent(spec)
    s3 = quick_client("s3")
    code = f"{places.code}/sourcedir.tar.gz".removeprefix(f"s3://{quick_bucket}/")
    theirs = archive_of({"train.py": "print('theirs')\n"})
    kept = f"{places.channels['weights']}/weights.pth".removeprefix(f"s3://{quick_bucket}/")
    for key in (code, kept):
        s3.put_object(Bucket=quick_bucket, Key=key, Body=theirs)
    assert inputs.sent(spec) == places
    found = s3.get_object(Bucket=quick_bucket, Key=code)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(found)) as tar:
        opened = tar.extractfile("train.py")
        assert opened is not None
        assert opened.read() == b"print('ours')\n"
    assert s3.get_object(Bucket=quick_bucket, Key=kept)["Body"].read() == b"weights"


def test_a_models_archive_that_was_exchanged_in_s3_is_never_deployed(
    storage: Storage, quick_client: Clients, quick_bucket: str, tmp_path: Path
) -> None:
    model = write_tiny_model(tmp_path / "model", seed=1)
    with ServedModel.packed(model, f"s3://{quick_bucket}/models") as served:
        served.upload(storage)
        key = served.uri.removeprefix(f"s3://{quick_bucket}/")
        theirs = archive_of({"code/inference.py": "print('theirs')\n"})
        quick_client("s3").put_object(Bucket=quick_bucket, Key=key, Body=theirs)
        served.upload(storage)
        assert storage.get(served.uri) == served.archive.read_bytes()
