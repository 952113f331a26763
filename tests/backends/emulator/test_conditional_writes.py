"""Conditional writes and ranged reads of the emulator's S3, which feature stores need, by boto3."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from breedclf.backends.emulator.s3.objects import MotoObjects
from tests.backends.conftest import Clients


@pytest.fixture
def switching_threads() -> Iterator[None]:
    """Threads that take turns much more often than usual, so that races happen."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_write_with_a_condition_is_refused_as_by_s3(quick_client: Clients, quick_bucket: str) -> None:
    s3 = quick_client("s3")
    etag = s3.put_object(Bucket=quick_bucket, Key="lease", Body=b"a", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError) as exists:
        s3.put_object(Bucket=quick_bucket, Key="lease", Body=b"b", IfNoneMatch="*")
    s3.put_object(Bucket=quick_bucket, Key="lease", Body=b"c", IfMatch=etag)
    with pytest.raises(ClientError) as changed:
        s3.put_object(Bucket=quick_bucket, Key="lease", Body=b"d", IfMatch=etag)
    with pytest.raises(ClientError) as missing:
        s3.put_object(Bucket=quick_bucket, Key="none", Body=b"e", IfMatch=etag)
    assert refusal(exists) == refusal(changed) == ("PreconditionFailed", 412)
    assert refusal(missing) == ("NoSuchKey", 404)
    assert s3.get_object(Bucket=quick_bucket, Key="lease")["Body"].read() == b"c"


@pytest.mark.usefixtures("switching_threads")
def test_of_many_writers_at_once_one_creates_an_object() -> None:
    def creates(attempt: tuple[int, int]) -> bool:
        try:
            s3.put_object(Bucket="leases", Key=f"lease-{attempt[0]}", Body=b"", IfNoneMatch="*")
        except ClientError:
            return False
        return True

    s3 = MotoObjects().client("us-east-1")  # over HTTP the requests would be too far apart
    s3.create_bucket(Bucket="leases")
    attempts = [(key, writer) for key in range(30) for writer in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(creates, attempts)) == 30


def test_ranges_and_pages(quick_client: Clients, quick_bucket: str) -> None:
    s3 = quick_client("s3")
    for name in ("a", "b", "c"):
        s3.put_object(Bucket=quick_bucket, Key=name, Body=b"0123456789")
    part = s3.get_object(Bucket=quick_bucket, Key="a", Range="bytes=2-4")
    assert (part["Body"].read(), part["ContentRange"]) == (b"234", "bytes 2-4/10")
    with pytest.raises(ClientError) as beyond:
        s3.get_object(Bucket=quick_bucket, Key="a", Range="bytes=10-11")
    assert refusal(beyond) == ("InvalidRange", 416)
    first = s3.list_objects_v2(Bucket=quick_bucket, MaxKeys=2)
    rest = s3.list_objects_v2(Bucket=quick_bucket, ContinuationToken=first["NextContinuationToken"])
    assert [each["Key"] for each in first["Contents"] + rest["Contents"]] == ["a", "b", "c"]
    assert first["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "us-east-1"
