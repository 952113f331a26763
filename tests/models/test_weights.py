"""Pretrained weights: what fits, what is refused, and the download against a real server."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from breedclf.errors import WeightsError
from breedclf.files.known_checksums import cache_file_of, sha256_of
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.download import download
from breedclf.models.published import preprocessing_for
from breedclf.models.state_dict import fingerprint
from breedclf.models.state_file import read_state
from breedclf.models.weights import load_pretrained


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return find_backbone("resnet18").new_network(seed=1).state_dict()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", folder
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_local_file_gives_the_backbone(tmp_path: Path, state: dict[str, torch.Tensor], suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    pretrained = load_pretrained("resnet18", str(path))
    backbone = pretrained.state
    assert not any(name.startswith("fc.") for name in backbone)
    assert torch.equal(backbone["conv1.weight"], state["conv1.weight"])
    assert pretrained.backbone.features == 512


def test_random_weights_follow_the_seed() -> None:
    first, again, other = (load_pretrained("resnet18", "none", seed=seed) for seed in (3, 3, 4))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_drawing_random_weights_leaves_the_random_state_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load_pretrained("resnet18", "none", seed=7)
    assert torch.equal(torch.rand(1), expected)


def test_weights_of_another_architecture_name_the_keys(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"doesn't fit resnet50: \d+ missing: .*bn3.*of another shape"):
        load_pretrained("resnet50", str(path))


def test_a_missing_and_a_misshapen_key_are_named(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "weights.pth"
    broken = {name: value for name, value in state.items() if name != "conv1.weight"}
    broken["bn1.weight"] = torch.zeros(3)
    torch.save(broken, path)
    with pytest.raises(WeightsError, match=r"1 missing: conv1.weight; 1 of another shape: bn1.weight is \[3\]"):
        load_pretrained("resnet18", str(path))


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("pwned"),))


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Malicious()}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Malicious(), protocol=2))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(WeightsError, match="holds pickled code or objects and is refused"):
            read_state(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 half a zip"])
def test_files_that_are_no_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        read_state(path)
    with pytest.raises(WeightsError, match=r"missing\.pth does not exist"):
        read_state(tmp_path / "missing.pth")


def test_preprocessing_belongs_to_the_weights() -> None:
    assert preprocessing_for("resnet50", "IMAGENET1K_V1").resize_px == 256
    assert preprocessing_for("resnet50", "IMAGENET1K_V2").resize_px == 232
    assert preprocessing_for("resnet50", "my.pth").crop_px == 224
    with pytest.raises(WeightsError, match="no IMAGENET1K_V2 weights of resnet18; there are IMAGENET1K_V1"):
        preprocessing_for("resnet18", "IMAGENET1K_V2")


def test_download_checks_and_keeps_the_file(tmp_path: Path, server: tuple[str, Path]) -> None:
    url, folder = server
    content = b"weights" * 100_000
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(content)
    target = download(f"{url}/{name}", tmp_path / "cache")
    assert target.read_bytes() == content
    (folder / name).unlink()
    assert download(f"{url}/{name}", tmp_path / "cache") == target  # not fetched again


def test_a_download_that_was_damaged_since_is_fetched_again(
    tmp_path: Path, server: tuple[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    url, folder = server
    content = b"weights" * 1_000
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(content)
    target = download(f"{url}/{name}", tmp_path / "cache")
    for damaged in (b"weighty" + content[7:], content[:-1], b""):
        target.write_bytes(damaged)
        assert download(f"{url}/{name}", tmp_path / "cache").read_bytes() == content
        assert "is damaged: its sha256 starts" in caplog.text
        caplog.clear()
    target.write_bytes(b"")
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=r"is damaged: its sha256 starts e3b0c442, .*can't be downloaded"):
        download(f"{url}/{name}", tmp_path / "cache")
    assert target.read_bytes() == b""


def test_a_hash_is_computed_again_only_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "large.pth"
    path.write_bytes(b"one")
    cache_file = cache_file_of(path)
    assert sha256_of(path) == hashlib.sha256(b"one").hexdigest()
    cache_file.write_text(cache_file.read_text().replace(sha256_of(path), "remembered"))
    assert sha256_of(path) == "remembered"
    path.write_bytes(b"two")
    assert sha256_of(path) == hashlib.sha256(b"two").hexdigest()
    for broken in ("", "[1]", '{"stamp": 3}', "[" * 100_000):
        cache_file.write_text(broken)
        assert sha256_of(path) == hashlib.sha256(b"two").hexdigest()


def test_a_file_with_a_published_name_must_be_that_one(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "resnet18-20240101.pth")  # a date, not a hash
    load_pretrained("resnet18", str(tmp_path / "resnet18-20240101.pth"))
    torch.save(state, tmp_path / "resnet18-f37072fd.pth")
    with pytest.raises(WeightsError, match=r"isn't what its name says: its sha256 starts \w{8}, not f37072fd; fetch"):
        load_pretrained("resnet18", str(tmp_path / "resnet18-f37072fd.pth"))


def test_a_damaged_byte_in_any_part_is_noticed(tmp_path: Path) -> None:
    """torch itself loads such a file without a word: it doesn't look at the checksums that it wrote."""
    expected = {"one": torch.arange(500.0), "two": torch.arange(300.0)}
    path = tmp_path / "weights.pth"
    torch.save(expected, path)
    whole = path.read_bytes()
    noticed = 0
    for at in range(5, len(whole), 37):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            found = read_state(path)
        except WeightsError as error:
            assert str(path) in str(error)
            noticed += 1
        else:
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], expected[name]) for name in expected), f"byte {at}"
    assert noticed > 80
    at = whole.index(expected["one"].numpy().tobytes()) + 101
    path.write_bytes(whole[:at] + b"\x7f" + whole[at + 1 :])
    with pytest.raises(WeightsError, match=r"is damaged: the checksum of weights/data/\d is wrong; fetch or save"):
        read_state(path)


def test_files_without_checksums_are_still_read(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "unchecked.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    for name in ("old.pth", "unchecked.pth"):
        assert fingerprint(read_state(tmp_path / name)) == fingerprint(state)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, state: dict[str, torch.Tensor], value: float) -> None:
    broken = state | {"conv1.weight": torch.full((64, 3, 7, 7), value)}
    torch.save(broken, tmp_path / "broken.pth")
    with pytest.raises(WeightsError, match=r"NaN or infinite values in conv1\.weight \(9408 of 9408 values\)"):
        load_pretrained("resnet18", str(tmp_path / "broken.pth"))
    broken = state | {"bn1.running_var": torch.full((64,), -1.0), "bn1.bias": torch.zeros(64, dtype=torch.int32)}
    save_file(broken, tmp_path / "broken.safetensors")
    with pytest.raises(WeightsError, match=r"1 of a type that holds no weights: bn1\.bias is int32"):
        load_pretrained("resnet18", str(tmp_path / "broken.safetensors"))
    del broken["bn1.bias"]
    save_file(broken | {"bn1.bias": torch.zeros(64)}, tmp_path / "broken.safetensors")
    with pytest.raises(WeightsError, match=r"a negative variance in bn1\.running_var \(-1\)"):
        load_pretrained("resnet18", str(tmp_path / "broken.safetensors"))


def test_a_damaged_download_leaves_nothing_behind(tmp_path: Path, server: tuple[str, Path]) -> None:
    url, folder = server
    (folder / "net-00000000.pth").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="damaged: its sha256 starts"):
        download(f"{url}/net-00000000.pth", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_network_the_message_says_where_to_put_the_file(tmp_path: Path, server: tuple[str, Path]) -> None:
    url, _ = server
    with pytest.raises(WeightsError, match=r"404.*put the file at .*cache/net-12345678.pth.*--weights FILE"):
        download(f"{url}/net-12345678.pth", tmp_path / "cache")
    with pytest.raises(WeightsError, match=r"can't be downloaded from http://127\.0\.0\.1:1/"):
        download("http://127.0.0.1:1/net-12345678.pth", tmp_path / "cache", timeout_seconds=1)


def test_a_download_may_be_given_a_total_time(tmp_path: Path, server: tuple[str, Path]) -> None:
    url, folder = server
    (folder / "net-12345678.pth").write_bytes(bytes(3_000_000))
    with pytest.raises(WeightsError, match=r"only [\d,]+ of 3,000,000 bytes came in 0 s"):
        download(f"{url}/net-12345678.pth", tmp_path / "cache", total_seconds=0)
    assert list((tmp_path / "cache").iterdir()) == []
