"""Requests of web pages and of other users of this machine, which are refused without the emulator's keys."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import psutil
import pytest
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from breedclf.backends.emulator.server import Emulator, emulator as running_emulator
from breedclf.backends.local.backend import LocalBackend
from tests.backends.conftest import Clients, asked
from tests.backends.emulator.test_serving import upload_echo
from tests.backends.sagemaker.job_requests import model_request, script_job, variant
from tests.browser import browser, find_chromium
from tests.waiting import until

FOREIGN = {
    "a page of another site": {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
    "a page of another port": {"Origin": "http://127.0.0.1:9", "Sec-Fetch-Site": "same-site"},
    "a sandboxed page": {"Origin": "null"},
    "an old browser's image": {"Sec-Fetch-Site": "cross-site"},
    "a name that a page made point here": {"Host": "evil.example"},
    "the same with a port": {"Host": "evil.example:80"},
    "a name that only looks local": {"Host": "localhost.evil.example"},
    "no name": {"Host": ""},
}


def signed_headers(emulator: Emulator, method: str, path: str) -> dict[str, str]:
    request = AWSRequest(method=method, url=f"{emulator.url}{path}", data=b"")
    S3SigV4Auth(emulator.session().get_credentials().get_frozen_credentials(), "s3", "us-east-1").add_auth(request)
    return dict(request.headers.items())


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_requests_are_refused_before_their_body_is_read_even_when_signed(
    quick: Emulator, quick_bucket: str, headers: dict[str, str]
) -> None:
    target = urlsplit(quick.url)
    sent = {"Host": target.netloc, **signed_headers(quick, "PUT", f"/{quick_bucket}/key"), **headers}
    lines = [f"PUT /{quick_bucket}/key HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    with socket.create_connection((target.hostname or "", target.port or 0), timeout=10) as raw:
        raw.sendall("\r\n".join([*lines, "Content-Length: 1000000", "", ""]).encode())  # without the body
        answer = HTTPResponse(raw)
        answer.begin()
        said = answer.read()  # it has a length: the connection stays open for the body
    assert answer.status == 403
    assert re.search(rb"breedclf's emulator: (web pages are refused|only requests to)", said)
    assert "access-control" not in str(answer.headers).lower()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/", "/bucket/key", "/_emulator/faults", "/endpoints/x/invocations", "/moto-api/reset"]
)
def test_unsigned_requests_are_refused_before_their_body_is_read(quick: Emulator, method: str, path: str) -> None:
    target = urlsplit(quick.url)
    with socket.create_connection((target.hostname or "", target.port or 0), timeout=10) as raw:
        raw.sendall(f"{method} {path} HTTP/1.1\r\nHost: {target.netloc}\r\nContent-Length: 1000000\r\n\r\n".encode())
        answer = raw.recv(4096)
    assert answer.startswith(b"HTTP/1.1 405" if method == "OPTIONS" else b"HTTP/1.1 403")
    assert quick.plane.faults.calls() == []


def test_cors_rules_of_a_bucket_allow_no_page(quick: Emulator, quick_client: Clients, quick_bucket: str) -> None:
    s3 = quick_client("s3")
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "AllowedHeaders": ["*"]}
    s3.put_bucket_cors(Bucket=quick_bucket, CORSConfiguration={"CORSRules": [rule]})
    s3.put_bucket_acl(Bucket=quick_bucket, ACL="public-read-write")
    s3.put_object(Bucket=quick_bucket, Key="page.html", Body=b"x", ACL="public-read")
    answer = asked(quick, "GET", f"/{quick_bucket}/page.html", service="s3")
    assert answer.status == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert urllib3.request("GET", f"{quick.url}/{quick_bucket}/page.html").status == 403


def test_moto_answers_s3_calls_alone(quick: Emulator, quick_client: Clients, quick_bucket: str) -> None:
    quick_client("s3").put_object(Bucket=quick_bucket, Key="key", Body=b"x")
    for method, path in (("POST", "/moto-api/reset"), ("GET", "/moto-api/data.json"), ("GET", "/latest/meta-data/")):
        answer = asked(quick, method, path, service="s3")
        assert answer.status >= 400, (path, answer.status, answer.data[:200])
    assert quick_client("s3").get_object(Bucket=quick_bucket, Key="key")["Body"].read() == b"x"


def ports_of(process: psutil.Process) -> set[int]:
    found = [each for one in (process, *process.children(recursive=True)) for each in one.net_connections("tcp")]
    return {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}


def test_another_user_is_refused_on_every_port(tmp_path: Path, plain_python: Path) -> None:
    """Without keys and with guessed ones, at the emulator and at serving containers."""
    mine = psutil.Process()
    before = ports_of(mine)
    marker = tmp_path / "was-here"
    with running_emulator(LocalBackend(tmp_path / "home", cores=1, gpus=(), python=plain_python)) as emulator:
        port = urlsplit(emulator.url).port
        assert ports_of(mine) - before == {port}, "nothing else listens"
        client = lambda service, **more: emulator.session().client(service, endpoint_url=emulator.url, **more)  # noqa: E731
        client("s3").create_bucket(Bucket="mine")
        sagemaker = client("sagemaker")
        sagemaker.create_model(**model_request("echo", upload_echo(client, "mine", "word")))
        sagemaker.create_endpoint_config(EndpointConfigName="echo", ProductionVariants=variant("echo"))
        sagemaker.create_endpoint(EndpointName="echo", EndpointConfigName="echo")
        until(lambda: sagemaker.describe_endpoint(EndpointName="echo")["EndpointStatus"] == "InService")

        job = script_job(client, "mine", "theirs", "print('loss=1')")
        job["AlgorithmSpecification"]["ContainerEntrypoint"] = ["touch", str(marker)]
        body = json.dumps(job).encode()
        target = {"X-Amz-Target": "SageMaker.CreateTrainingJob", "Content-Type": "application/x-amz-json-1.1"}
        ports = ports_of(mine) - before
        assert len(ports) == 2, "the emulator's and the container's"
        for each in ports:
            url = f"http://127.0.0.1:{each}"
            for path, headers in (("/", target), ("/invocations", {}), ("/endpoints/echo/invocations", {})):
                try:
                    answer = urllib3.request("POST", url + path, body=body, headers=headers, retries=False)
                except urllib3.exceptions.ProtocolError:
                    continue  # the connection was closed before the body was read
                assert answer.status in (401, 403), (url, path, answer.status)
                assert b"word" not in answer.data
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            known = boto3.Session("emulator", "emulator", region_name="us-east-1")
            known.client("sagemaker", endpoint_url=emulator.url).create_training_job(**job)
        assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
        assert client("sagemaker-runtime").invoke_endpoint(EndpointName="echo", Body=b"12")["Body"].read()
    assert not marker.exists()
    assert not emulator.environment_file.exists()


PAGE = """<!doctype html><title>foreign</title><iframe name="sink"></iframe><script>
const at = %(url)s, bucket = %(bucket)s, key = %(key)s, seen = [];
async function tried(what, work) {
  try { seen.push([what, await work()]); } catch (error) { seen.push([what, "blocked"]); }
}
async function all() {
  await tried("read", async () => (await fetch(at + "/" + bucket + "/" + key)).text());
  await tried("list", async () => (await fetch(at + "/" + bucket + "?list-type=2")).text());
  await tried("switch", async () => (await fetch(at + "/_emulator/calls")).text());
  await tried("put", async () => (await fetch(at + "/" + bucket + "/" + key, {method: "PUT", body: "evil"})).status);
  await tried("blind put", async () => (await fetch(at + "/" + bucket + "/new", {method: "POST", mode: "no-cors",
    body: "evil"})).type);
  await tried("job", async () => (await fetch(at + "/", {method: "POST", mode: "no-cors", body: "{}"})).type);
  const form = document.createElement("form");
  Object.assign(form, {method: "post", enctype: "multipart/form-data", action: at + "/" + bucket, target: "sink"});
  for (const [name, value] of [["key", key], ["file", "evil"]]) {
    const field = document.createElement("textarea");
    Object.assign(field, {name, value});
    form.append(field);
  }
  document.body.append(form);
  await new Promise(done => {
    document.querySelector("iframe").addEventListener("load", done, {once: true});
    form.submit();
  });
  const image = new Image();
  await new Promise(done => { image.onload = image.onerror = done; image.src = at + "/" + bucket + "/image.gif"; });
  seen.push(["image", image.naturalWidth]);
  document.title = "done";
}
window.addEventListener("load", all);
</script>"""


@contextmanager
def page_of(text: str) -> Iterator[str]:
    """A web site on another port with this page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


GIF = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")
def test_a_foreign_page_in_a_real_browser_reads_and_writes_nothing(
    quick: Emulator, quick_client: Clients, quick_bucket: str
) -> None:
    s3, key = quick_client("s3"), "code/0123/sourcedir.tar.gz"
    s3.put_object(Bucket=quick_bucket, Key=key, Body=b"secret")
    s3.put_object(Bucket=quick_bucket, Key="image.gif", Body=GIF, ContentType="image/gif")
    rule = {"AllowedMethods": ["GET", "PUT", "POST"], "AllowedOrigins": ["*"], "AllowedHeaders": ["*"]}
    s3.put_bucket_cors(Bucket=quick_bucket, CORSConfiguration={"CORSRules": [rule]})
    quick.plane.faults.clear()
    values = {"url": quick.url, "bucket": quick_bucket, "key": key}
    program = find_chromium()
    assert program is not None
    with page_of(PAGE % {name: json.dumps(value) for name, value in values.items()}) as url, browser(program) as page:
        page.open(url)
        page.until("document.title === 'done'")
        seen = dict(page.run("seen"))
    assert seen.pop("image") == 0
    assert {word for word in seen.values() if word != "opaque"} == {"blocked"}, seen
    assert quick.plane.faults.calls() == []
    assert s3.get_object(Bucket=quick_bucket, Key=key)["Body"].read() == b"secret"
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=quick_bucket)["Contents"]] == [key, "image.gif"]
