"""`S3Dataset`: checks images first, uploads only changes, and verifies the result."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from breedclf import Job, S3Dataset, SageMakerBackend, Trainer, TrainingConfig
from breedclf.backends.emulator.server import Emulator
from breedclf.backends.sagemaker.clients import AwsClients
from breedclf.backends.sagemaker.s3.manifest import MANIFEST_NAME, Manifest, read_manifest
from breedclf.backends.sagemaker.s3.storage import Storage
from breedclf.backends.sagemaker.s3.transfer import Progress, upload_folder
from breedclf.cli import main as command_line
from breedclf.errors import ConfigError, DataError
from breedclf.testing.images import write_image_set
from tests.backends.sagemaker.contexts import ROLE, backend_at


@pytest.fixture
def backend(quick: Emulator, quick_bucket: str, tmp_path: Path) -> SageMakerBackend:
    quick.plane.faults.clear()  # the calls that made the bucket
    return backend_at(quick, quick_bucket, tmp_path / "home")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_image_set(tmp_path / "images", classes=2, train=3, valid=2, test=1, size_px=64)


def s3_calls(emulator: Emulator) -> Counter[str]:
    found = Counter(each["operation"] for each in emulator.plane.faults.calls() if each["service"] == "s3")
    emulator.plane.faults.clear()
    return found


def test_only_what_changed_is_sent(quick: Emulator, quick_bucket: str, backend: SageMakerBackend, images: Path) -> None:
    uri = f"s3://{quick_bucket}/dogs"
    files = sorted(path for path in images.rglob("*") if path.is_file())
    (images / ".hidden").write_text("stays here")
    seen: list[Progress] = []
    first = S3Dataset.upload(images, uri, backend=backend, progress=seen.append)
    assert first.sent_files == len(files) == len(first.manifest.files)
    assert seen[-1] == Progress(len(files), len(files), first.manifest.size_bytes, first.manifest.size_bytes)
    assert s3_calls(quick) == {"ListObjectsV2": 2, "PutObject": len(files) + 1}

    again = S3Dataset.upload(images, uri + "/", backend=backend)
    assert (again.sent_files, again.manifest) == (0, first.manifest)
    assert s3_calls(quick) == {"ListObjectsV2": 1}, "one listing, no PUT"

    os.utime(files[0])  # another time, the same content
    changed = files[1].read_bytes()
    files[1].write_bytes(changed[:-1] + bytes([changed[-1] ^ 1]))  # the same size, another content
    third = S3Dataset.upload(images, uri, backend=backend, check=False)
    assert (third.sent_files, third.sent_bytes) == (1, len(changed))
    assert third.manifest.fingerprint != first.manifest.fingerprint
    assert S3Dataset.attach(uri, backend=backend).manifest == third.manifest


def test_what_the_folder_lacks_is_an_error_or_deleted(
    quick_bucket: str, backend: SageMakerBackend, images: Path
) -> None:
    uri = f"s3://{quick_bucket}/dogs"
    S3Dataset.upload(images, uri, backend=backend)
    gone = next((images / "train").rglob("*.jpg"))
    gone.unlink()
    with pytest.raises(DataError, match=r"contains 1 files that .* lacks, such as train/.*delete=True, --delete"):
        S3Dataset.upload(images, uri, backend=backend)
    done = S3Dataset.upload(images, uri, backend=backend, delete=True)
    assert (done.sent_files, done.deleted_files) == (0, 1)
    names = {entry.name for entry in backend.storage.entries(uri)} - {MANIFEST_NAME}
    assert names == set(done.manifest.files) == set(read_manifest(images).files)


def test_the_manifest_decides_where_etags_are_not_md5(quick: Emulator, quick_bucket: str, images: Path) -> None:
    """As with KMS keys, whose ETags are of the encrypted bytes; here an S3 that marks every object so."""
    client = backend_at(quick, quick_bucket, images).clients("s3")

    class Encrypting(Storage):
        def put(self, uri: str, content: bytes) -> str:
            return f"kms-{super().put(uri, content)}"

        def entries(self, uri: str):  # type: ignore[no-untyped-def]
            for entry in super().entries(uri):
                yield type(entry)(entry.name, entry.size_bytes, f"kms-{entry.etag}")

    storage = Encrypting(client)
    uri = f"s3://{quick_bucket}/encrypted"
    first = upload_folder(storage, images, uri)
    s3_calls(quick)
    assert upload_folder(storage, images, uri).sent_files == 0
    assert s3_calls(quick) == {"ListObjectsV2": 1, "GetObject": 1}
    storage.put(f"{uri}/{MANIFEST_NAME}", b"damaged")
    assert upload_folder(storage, images, uri).sent_files == first.sent_files, "files are sent again if in doubt"


def test_a_large_file_goes_in_parts_and_is_known_again(
    quick: Emulator, quick_bucket: str, backend: SageMakerBackend, tmp_path: Path
) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(os.urandom(1 << 20) * 33)
    uri = f"s3://{quick_bucket}/large"
    done = upload_folder(backend.storage, folder, uri)
    assert (done.sent_files, done.sent_bytes) == (1, 33 << 20)
    assert "-" in (done.manifest.files["weights.bin"].etag or "")
    s3_calls(quick)
    assert upload_folder(backend.storage, folder, uri).sent_files == 0
    assert s3_calls(quick)["PutObject"] == 0


def test_concurrent_writes_are_detected(quick_bucket: str, backend: SageMakerBackend, images: Path) -> None:
    uri = f"s3://{quick_bucket}/shared"

    def meddle(now: Progress) -> None:
        if now.files == 1:
            backend.storage.put(f"{uri}/train/intruder.jpg", b"x")

    with pytest.raises(
        DataError, match="1 files at .* differ, such as train/intruder.jpg; another process may be writing"
    ):
        S3Dataset.upload(images, uri, backend=backend, progress=meddle)


def test_images_are_checked_first(quick: Emulator, quick_bucket: str, backend: SageMakerBackend, images: Path) -> None:
    next((images / "train").rglob("*.jpg")).write_bytes(b"not an image")
    uri = f"s3://{quick_bucket}/dogs"
    with pytest.raises(DataError, match="unreadable.*nothing was uploaded"):
        S3Dataset.upload(images, uri, backend=backend)
    assert s3_calls(quick) == {}
    assert S3Dataset.upload(images, uri, backend=backend, skip_bad=True).sent_files


def test_invalid_uris_and_folders_are_refused(backend: SageMakerBackend, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'dogs' is not an S3 URI"):
        S3Dataset.upload(tmp_path, "dogs", backend=backend)
    for key, meant in (("dots/../x", "x"), ("a//b", "a/b"), ("./a", "a"), ("a/..", "")):
        with pytest.raises(ConfigError, match=f"literal in S3: use s3://mine/{meant}$"):
            S3Dataset.upload(tmp_path, f"s3://mine/{key}", backend=backend)
    with pytest.raises(DataError, match="is not a folder"):
        upload_folder(backend.storage, tmp_path / "gone", "s3://b/k")
    with pytest.raises(DataError, match="contains no breedclf-manifest.json"):
        S3Dataset.attach(backend.uri("nothing"), backend=backend)
    assert Manifest.from_json(b"{}") is None


def test_a_training_reads_an_uploaded_data_set_and_the_command_line_makes_one(
    quick: Emulator,
    quick_bucket: str,
    backend: SageMakerBackend,
    images: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"ROLE": ROLE, "BUCKET": quick_bucket, "ENDPOINT_URL": quick.url}.items():
        monkeypatch.setenv(f"BREEDCLF_SAGEMAKER_{name}", value)
    uri = f"s3://{quick_bucket}/dogs"
    assert command_line(["data", "upload", str(images), uri, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["uri"], document["sent_files"]) == (uri, document["files"])
    config = TrainingConfig(data=uri, architecture="resnet18", weights="none", epochs=1)
    quick.plane.faults.clear()
    job = Trainer(config, backend=backend).submit(name="reads-a-data-set")
    assert s3_calls(quick)["PutObject"] <= 1, "the code at most"
    assert Job(job.name, backend).wait().status == "Completed"
    assert (job.output / "history.jsonl").is_file()
    with pytest.raises(ConfigError, match="is in S3, which only a job on SageMaker reads"):
        Trainer(config, backend="local").submit()


def test_a_small_object_is_sent_without_asking_first() -> None:
    """Otherwise boto3 waits for S3's permission before each upload, which costs a round trip per image."""
    asked: list[object] = []

    class Empty:
        def stream(self) -> list[bytes]:
            return []

    def answer(request: Any, **_: Any) -> AWSResponse:
        asked.append(request.headers.get("Expect"))
        return AWSResponse(request.url, 200, {"ETag": '"x"'}, Empty())

    client = AwsClients(boto3.Session("id", "secret", region_name="us-east-1"))("s3")
    client.meta.events.register("before-send.s3", answer)
    for size in (4_096, 2 << 20):
        client.put_object(Bucket="bucket", Key="key", Body=b"x" * size)
    assert asked == [None, b"100-continue"]
