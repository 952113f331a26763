"""Signed calls of AWS's clients to a running emulator, and its keys."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError

from breedclf.backends.common.folder import job_folder
from breedclf.backends.emulator.access.keys import Credentials, KeyRing
from breedclf.backends.emulator.server import Emulator
from tests.backends.conftest import Clients, asked, new_bucket
from tests.backends.sagemaker.job_requests import ROLE, script_job, wait_for_job
from tests.waiting import until

ONCE = Config(retries={"total_max_attempts": 1})


@pytest.mark.parametrize(
    ("service", "call", "unknown", "mismatch"),
    [
        ("sagemaker", "list_models", "UnrecognizedClientException", "InvalidSignatureException"),
        ("logs", "describe_log_groups", "UnrecognizedClientException", "InvalidSignatureException"),
        ("sagemaker-runtime", "invoke_endpoint", "UnrecognizedClientException", "InvalidSignatureException"),
        ("cloudwatch", "list_metrics", "UnrecognizedClientException", "InvalidSignatureException"),
        ("sts", "get_caller_identity", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        ("iam", "list_users", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        ("s3", "list_buckets", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
        ("ec2", "describe_vpcs", "UnrecognizedClientException", "InvalidSignatureException"),
        ("route53", "list_hosted_zones", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        ("lambda", "list_functions", "UnrecognizedClientException", "InvalidSignatureException"),
    ],
)
def test_other_keys_are_refused_with_each_services_error(
    quick: Emulator, service: str, call: str, unknown: str, mismatch: str
) -> None:
    right = quick.credentials
    arguments = {"EndpointName": "x", "Body": b"x"} if call == "invoke_endpoint" else {}
    for keys, code in ((("AKIAFOREIGN", "guessed"), unknown), ((right.access_key, "guessed"), mismatch)):
        session = boto3.Session(*keys, region_name="us-east-1")
        client = session.client(service, endpoint_url=quick.url, config=ONCE)
        with pytest.raises(ClientError) as caught:
            getattr(client, call)(**arguments)
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert caught.value.response["Error"]["Message"]
    assert quick.plane.faults.calls() == []


def test_a_signature_is_valid_for_one_service(quick: Emulator) -> None:
    answer = asked(quick, "POST", "/", b"{}", service="logs", X_Amz_Target="SageMaker.ListModels")
    assert answer.status == 403
    assert "correct service: 'sagemaker'" in answer.json()["message"]


def test_a_body_that_was_not_signed_is_refused(quick: Emulator, quick_client: Clients, quick_bucket: str) -> None:
    credentials = quick.session().get_credentials().get_frozen_credentials()
    request = AWSRequest(method="PUT", url=f"{quick.url}/{quick_bucket}/key", data=b"signed")
    S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    answer = urllib3.request("PUT", request.url, body=b"forged", headers=dict(request.headers.items()))
    assert (answer.status, b"XAmzContentSHA256Mismatch" in answer.data) == (400, True)
    assert "Contents" not in quick_client("s3").list_objects_v2(Bucket=quick_bucket)


def test_presigned_urls_work_unless_they_are_altered(quick_client: Clients, quick_bucket: str) -> None:
    s3 = quick_client("s3", config=Config(signature_version="s3v4"))
    name = {"Bucket": quick_bucket, "Key": "a folder/ä+b=c%2F"}
    put = s3.generate_presigned_url("put_object", Params=name)
    assert urllib3.request("PUT", put, body=b"content").status == 200
    get = s3.generate_presigned_url("get_object", Params=name)
    assert urllib3.request("GET", get).data == b"content"
    assert urllib3.request("GET", get.replace("X-Amz-Expires=3600", "X-Amz-Expires=3601")).status == 403
    assert urllib3.request("PUT", get, body=b"other").status == 403
    assert urllib3.request("DELETE", get).status == 403
    assert s3.get_object(**name)["Body"].read() == b"content"
    old = quick_client("s3").generate_presigned_url("get_object", Params=name)  # signature version 2, as boto3 has it
    answer = urllib3.request("GET", old)
    assert answer.status == 400
    assert b"Please use AWS4-HMAC-SHA256" in answer.data


def test_large_objects_and_unusual_names_are_stored_unchanged(quick_client: Clients, quick_bucket: str) -> None:
    s3 = quick_client("s3")
    large = os.urandom(9 << 20)
    s3.upload_fileobj(io.BytesIO(large), quick_bucket, "large", ExtraArgs={"Metadata": {"my_key": "value"}})
    found = s3.get_object(Bucket=quick_bucket, Key="large")
    assert found["Body"].read() == large
    assert found["Metadata"] == {"my_key": "value"}
    names = ["a//b", "a+b c", "ü/é.txt", "100%", "q?x=1&y", "star*~'()!", ".hidden/..x"]
    for name in names:
        s3.put_object(Bucket=quick_bucket, Key=name, Body=name.encode())
        assert s3.get_object(Bucket=quick_bucket, Key=name)["Body"].read() == name.encode()
        s3.copy_object(Bucket=quick_bucket, Key=f"copies/{name}", CopySource={"Bucket": quick_bucket, "Key": name})
    listed = [each["Key"] for each in s3.list_objects_v2(Bucket=quick_bucket)["Contents"]]
    assert set(names) < set(listed)
    answer = s3.delete_objects(Bucket=quick_bucket, Delete={"Objects": [{"Key": name} for name in names]})
    assert len(answer["Deleted"]) == len(names)


def test_temporary_credentials_need_their_token(quick: Emulator, quick_client: Clients) -> None:
    made = quick_client("sts").assume_role(RoleArn=ROLE, RoleSessionName="me")["Credentials"]

    def sts(token: str | None) -> Any:
        session = boto3.Session(made["AccessKeyId"], made["SecretAccessKey"], token, "us-east-1")
        return session.client("sts", endpoint_url=quick.url, config=ONCE)

    assert sts(made["SessionToken"]).get_caller_identity()["Arn"].endswith(":assumed-role/breedclf/me")
    for wrong in (None, "x" * 40):
        with pytest.raises(ClientError, match="InvalidClientTokenId"):
            sts(wrong).get_caller_identity()


SHOWS_ITS_KEYS = """
import json, os, time
names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
print("KEYS " + json.dumps([os.environ[name] for name in names]), flush=True)
print("FOREIGN " + os.environ.get("AWS_SECURITY_TOKEN", "none"), flush=True)
stop = os.path.join(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints", "stop")
while not os.path.exists(stop):
    time.sleep(0.05)
print("loss=0.5")
"""


def test_a_job_has_keys_of_its_role_until_it_ends(
    quick: Emulator, quick_client: Clients, quick_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECURITY_TOKEN", "of-another-account")
    quick_client("sagemaker").create_training_job(**script_job(quick_client, quick_bucket, "with-keys", SHOWS_ITS_KEYS))
    log = job_folder(quick.plane.local.home, "with-keys").log_file
    until(lambda: log.is_file() and "FOREIGN" in log.read_text())
    assert "FOREIGN none" in log.read_text()
    keys = json.loads(log.read_text().partition("KEYS ")[2].partition("\n")[0])
    assert quick.credentials.secret_key not in log.read_text()
    session = boto3.Session(*keys, region_name="us-east-1")
    sts = session.client("sts", endpoint_url=quick.url, config=ONCE)
    assert sts.get_caller_identity()["Arn"].endswith(":assumed-role/breedclf/SageMaker")
    session.client("s3", endpoint_url=quick.url).put_object(Bucket=quick_bucket, Key="from-the-job", Body=b"x")
    (quick.plane.runs.folder("with-keys") / "checkpoints" / "stop").touch()
    assert wait_for_job(quick_client, "with-keys")["TrainingJobStatus"] == "Completed"
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        sts.get_caller_identity()


def test_keys_are_new_for_each_start_and_in_private_files(quick: Emulator, quick_client: Clients) -> None:
    assert Credentials.new().secret_key != Credentials.new().secret_key
    assert len(quick.credentials.secret_key) == 40
    quick_client("sts").get_session_token()
    root = quick.plane.store.root
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    for name in ("environment.sh", "sessions.json"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600
    assert quick.credentials.secret_key in (root / "environment.sh").read_text()
    assert quick.credentials.secret_key not in repr(quick)


def test_session_keys_outlive_an_emulator_until_they_expire(tmp_path: Path) -> None:
    now = [1000.0]
    first = KeyRing(Credentials.new(), tmp_path / "sessions.json", lambda: now[0])
    kept, ended = first.issue("arn", owner="job-1"), first.issue("arn", seconds=900)
    second = KeyRing(Credentials.new(), tmp_path / "sessions.json", lambda: now[0])
    assert second.find(kept.access_key) == kept
    assert second.find(first.root.access_key) is None
    now[0] += 100_000
    second.revoke("job-1")
    assert second.find(kept.access_key) is None
    assert second.find(ended.access_key) is None


def test_a_missing_object_is_s3s_error(quick_client: Clients) -> None:
    other = new_bucket(quick_client)
    with pytest.raises(ClientError, match="NoSuchKey"):
        quick_client("s3").get_object(Bucket=other, Key="nothing")
