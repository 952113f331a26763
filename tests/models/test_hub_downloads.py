"""Downloads of timm's weights by Hugging Face's own client, from a local server that plays its files."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from breedclf.errors import WeightsError
from breedclf.models.backbones.backbone import StateDict, find_backbone
from breedclf.models.weights import load_pretrained

pytest.importorskip("timm")
constants = pytest.importorskip("huggingface_hub.constants")

NETWORK = "timm:test_efficientnet"
REPOSITORY = "timm/test_efficientnet.r160_in1k"
COMMIT = "c0ffee" + "0" * 34


class Hub(ThreadingHTTPServer):
    """Files of repositories by their name, with the sha256 that the server says they have."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.files: dict[str, bytes] = {}
        self.sha256: dict[str, str] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, name: str, content: bytes, sha256: str | None = None) -> None:
        path = f"/{REPOSITORY}/resolve/main/{name}"
        self.files[path] = content
        self.sha256[path] = sha256 or hashlib.sha256(content).hexdigest()


class HubHandler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        content = self._answer()
        if content is not None:
            self.wfile.write(content)

    def _answer(self) -> bytes | None:
        assert isinstance(self.server, Hub)
        content = self.server.files.get(self.path)
        self.server.requests.append(f"{self.command} {self.path.rpartition('/')[2]}")
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_header("ETag", f'"{self.server.sha256[self.path]}"')
            self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """What HF_ENDPOINT and HF_HOME set at the start of a process is set here within one."""
    with Hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def state() -> StateDict:
    return find_backbone(NETWORK).new_network(seed=1).state_dict()


def blobs(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "hub" / f"models--{REPOSITORY.replace('/', '--')}" / "blobs").iterdir())


def test_weights_are_downloaded_once_and_recorded(hub: Hub, state: StateDict) -> None:
    hub.put("model.safetensors", save(state))
    pretrained = load_pretrained(NETWORK, "pretrained")
    assert all(torch.equal(pretrained.state[name], state[name]) for name in pretrained.state)
    assert pretrained.record is not None
    assert (pretrained.record.license, pretrained.record.library) == ("Apache-2.0", "timm")
    assert pretrained.record.source == f"https://huggingface.co/{REPOSITORY}"
    assert pretrained.preprocessing.crop_px == 160
    count = len(hub.requests)
    assert load_pretrained(NETWORK, "pretrained").fingerprint == pretrained.fingerprint
    assert len(hub.requests) == count


def test_a_file_that_was_damaged_since_is_fetched_again(
    hub: Hub, tmp_path: Path, state: StateDict, caplog: pytest.LogCaptureFixture
) -> None:
    hub.put("model.safetensors", save(state))
    load_pretrained(NETWORK, "pretrained")
    (blob,) = blobs(tmp_path)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x01")
    load_pretrained(NETWORK, "pretrained")
    assert "is damaged: its sha256 starts" in caplog.text
    assert hashlib.sha256(blobs(tmp_path)[0].read_bytes()).hexdigest() == blob.name


def test_a_download_with_other_content_than_announced_is_refused(hub: Hub, state: StateDict) -> None:
    hub.put("model.safetensors", save(state), sha256="0" * 64)
    with pytest.raises(
        WeightsError, match=rf"of model\.safetensors from {hub.url}/{REPOSITORY} is damaged: its sha256"
    ):
        load_pretrained(NETWORK, "pretrained")


def test_torch_files_are_read_without_running_code(hub: Hub, state: StateDict) -> None:
    file = io.BytesIO()
    torch.save(state, file)
    hub.put("pytorch_model.bin", file.getvalue())
    assert load_pretrained(NETWORK, "pretrained").state.keys() < state.keys()
    assert [name.rpartition(" ")[2] for name in hub.requests if "HEAD" in name][-2:] == [
        "model.safetensors",
        "pytorch_model.bin",
    ]


def test_pickled_code_from_the_hub_is_refused(hub: Hub) -> None:
    file = io.BytesIO()
    torch.save({"conv_stem.weight": Path("anything but a tensor")}, file)
    hub.put("pytorch_model.bin", file.getvalue())
    with pytest.raises(WeightsError, match="holds pickled code or objects and is refused"):
        load_pretrained(NETWORK, "pretrained")


def test_a_file_that_is_no_safetensors_is_refused(hub: Hub) -> None:
    hub.put("model.safetensors", b"<html>a login page</html>")
    with pytest.raises(WeightsError, match=r"model\.safetensors can't be read as a state dict"):
        load_pretrained(NETWORK, "pretrained")


def test_weights_of_another_network_on_the_hub_are_refused(hub: Hub) -> None:
    hub.put("model.safetensors", save(find_backbone("timm:test_resnet").new_network(seed=1).state_dict()))
    with pytest.raises(WeightsError, match=r"doesn't fit timm:test_efficientnet: \d+ missing"):
        load_pretrained(NETWORK, "pretrained")


def test_a_repository_without_weights_says_so(hub: Hub) -> None:
    with pytest.raises(WeightsError, match=f"{hub.url}/{REPOSITORY} has no weights: none of model.safetensors, pyt"):
        load_pretrained(NETWORK, "pretrained")


def test_without_a_network_the_message_says_what_to_do(
    hub: Hub, tmp_path: Path, state: StateDict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as error:
        load_pretrained(NETWORK, "pretrained")
    assert "\n" not in str(error.value)
    for words in (
        f"{hub.url}/{REPOSITORY}",
        f"models--timm--{REPOSITORY[5:]}",
        str(tmp_path / "hub"),
        "--weights FILE",
    ):
        assert words in str(error.value)
    assert hub.requests == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.put("model.safetensors", save(state))
    load_pretrained(NETWORK, "pretrained")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load_pretrained(NETWORK, "pretrained")  # it is in the cache
