"""Downloads of timm's weights by Hugging Face's own client, from a local server that plays its files."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from breedclf.errors import WeightsError
from breedclf.models.backbones.backbone import StateDict, find_backbone
from breedclf.models.weights import load_pretrained
from tests.hub_server import Hub, running_hub

pytest.importorskip("timm")
constants = pytest.importorskip("huggingface_hub.constants")

NETWORK = "timm:test_efficientnet"
REPOSITORY = "timm/test_efficientnet.r160_in1k"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """What HF_ENDPOINT and HF_HOME set at the start of a process is set here within one."""
    with running_hub() as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield server


@pytest.fixture(scope="module")
def state() -> StateDict:
    return find_backbone(NETWORK).new_network(seed=1).state_dict()


def blobs(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "hub" / f"models--{REPOSITORY.replace('/', '--')}" / "blobs").iterdir())


def test_weights_are_downloaded_once_and_recorded(hub: Hub, state: StateDict) -> None:
    hub.put(REPOSITORY, "model.safetensors", save(state))
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
    hub.put(REPOSITORY, "model.safetensors", save(state))
    load_pretrained(NETWORK, "pretrained")
    (blob,) = blobs(tmp_path)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x01")
    load_pretrained(NETWORK, "pretrained")
    assert "is damaged: its sha256 starts" in caplog.text
    assert hashlib.sha256(blobs(tmp_path)[0].read_bytes()).hexdigest() == blob.name


def test_a_download_with_other_content_than_announced_is_refused(hub: Hub, state: StateDict) -> None:
    hub.put(REPOSITORY, "model.safetensors", save(state), sha256="0" * 64)
    with pytest.raises(
        WeightsError, match=rf"of model\.safetensors from {hub.url}/{REPOSITORY} is damaged: its sha256"
    ):
        load_pretrained(NETWORK, "pretrained")


def test_torch_files_are_read_without_running_code(hub: Hub, state: StateDict) -> None:
    file = io.BytesIO()
    torch.save(state, file)
    hub.put(REPOSITORY, "pytorch_model.bin", file.getvalue())
    assert load_pretrained(NETWORK, "pretrained").state.keys() < state.keys()
    assert [name.rpartition(" ")[2] for name in hub.requests if "HEAD" in name][-2:] == [
        "model.safetensors",
        "pytorch_model.bin",
    ]


def test_pickled_code_from_the_hub_is_refused(hub: Hub) -> None:
    file = io.BytesIO()
    torch.save({"conv_stem.weight": Path("anything but a tensor")}, file)
    hub.put(REPOSITORY, "pytorch_model.bin", file.getvalue())
    with pytest.raises(WeightsError, match="holds pickled code or objects and is refused"):
        load_pretrained(NETWORK, "pretrained")


def test_a_file_that_is_no_safetensors_is_refused(hub: Hub) -> None:
    hub.put(REPOSITORY, "model.safetensors", b"<html>a login page</html>")
    with pytest.raises(WeightsError, match=r"model\.safetensors can't be read as a state dict"):
        load_pretrained(NETWORK, "pretrained")


def test_weights_of_another_network_on_the_hub_are_refused(hub: Hub) -> None:
    hub.put(REPOSITORY, "model.safetensors", save(find_backbone("timm:test_resnet").new_network(seed=1).state_dict()))
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
    hub.put(REPOSITORY, "model.safetensors", save(state))
    load_pretrained(NETWORK, "pretrained")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load_pretrained(NETWORK, "pretrained")  # it is in the cache
