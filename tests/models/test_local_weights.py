"""State dicts of other programs: prefixes, checkpoints, other heads, other names; and what doesn't fit is refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from breedclf.errors import WeightsError
from breedclf.models.backbones.backbone import StateDict, find_backbone
from breedclf.models.backbones.torchvision_networks import with_present_names
from breedclf.models.local_weights import weights_from_file
from breedclf.models.weights import load_pretrained

SMALL = "shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def state() -> StateDict:
    return find_backbone(SMALL).new_network(seed=1).state_dict()


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "breedclf"):
        yield


def zeros_of(architecture: str) -> StateDict:
    """Tensors of the network's shapes that take no space in memory or in a file."""
    network = find_backbone(architecture).empty_network(1000)
    return {name: torch.zeros((), dtype=each.dtype).expand(each.shape) for name, each in network.state_dict().items()}


def loaded(tmp_path: Path, content: object, architecture: str = SMALL) -> StateDict:
    torch.save(content, tmp_path / "weights.pth")
    return weights_from_file(find_backbone(architecture), tmp_path / "weights.pth")


def other_names(state: StateDict) -> StateDict:
    """The names of another project, with the same last parts."""
    return {f"net{name.replace('branch', 'path').replace('conv', 'c')}": tensor for name, tensor in state.items()}


def check_same(found: StateDict, state: StateDict) -> None:
    expected = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("prefix", ["module.", "model.backbone.", "encoder.", "_orig_mod."])
@pytest.mark.parametrize("head", ["fc.", "head.1."])
def test_a_common_prefix_and_another_head_do_not_matter(
    tmp_path: Path, state: StateDict, prefix: str, head: str, caplog: pytest.LogCaptureFixture
) -> None:
    trunk = {prefix + name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    check_same(
        loaded(tmp_path, trunk | {f"{prefix}{head}weight": torch.ones(7, 3), "loss.scale": torch.ones(1)}), state
    )
    assert f"names its weights with the prefix {prefix}; tensors without it aren't used" in caplog.text
    assert ("1 tensors of" in caplog.text) == (head == "head.1.")


def test_a_checkpoint_gives_its_weights_and_rather_their_moving_average(tmp_path: Path, state: StateDict) -> None:
    started = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    rest = {"epoch": 3, "optimizer": {"lr": 0.1, "state": [1, 2]}}
    check_same(loaded(tmp_path, {"model": state} | rest), state)
    check_same(loaded(tmp_path, {"state_dict": started, "state_dict_ema": state} | rest), state)


def test_weights_that_are_there_twice_are_ambiguous(tmp_path: Path, state: StateDict) -> None:
    twice = {f"{who}.{name}": tensor for who in ("student", "teacher") for name, tensor in state.items()}
    with pytest.raises(WeightsError, match=r"weights 2 times, with the prefixes student\., teacher\.: save"):
        loaded(tmp_path, twice)


def test_other_names_in_the_same_order(tmp_path: Path, state: StateDict, caplog: pytest.LogCaptureFixture) -> None:
    check_same(loaded(tmp_path, other_names(state)), state)
    assert (
        "280 tensors, from netc1.0.weight in place of conv1.0.weight to netc5.1.running_var in place of" in caplog.text
    )
    without_head = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    check_same(loaded(tmp_path, other_names(without_head)), state)


def test_other_names_in_another_order_are_refused(tmp_path: Path, state: StateDict) -> None:
    """Sorted names bring biases before weights of the same shape, which shapes alone wouldn't reveal."""
    hint = "It has the shapes of shufflenet_v2_x0_5, but other names, and"
    with pytest.raises(WeightsError, match=f"{hint} the order differs by which"):
        loaded(tmp_path, dict(sorted(other_names(state).items())))
    swapped = list(other_names(state).items())
    swapped[1:3] = swapped[2:0:-1]
    assert swapped[1][1].shape == swapped[2][1].shape
    with pytest.raises(WeightsError, match=f"{hint} the order differs by which"):
        loaded(tmp_path, dict(swapped))
    save_file(other_names(state), tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match=f"{hint} safetensors files don't keep the order"):
        weights_from_file(find_backbone(SMALL), tmp_path / "weights.safetensors")


def test_other_names_and_one_other_shape_are_refused(tmp_path: Path, state: StateDict) -> None:
    renamed = other_names(state)
    renamed["netc1.0.weight"] = torch.zeros(24, 3, 5, 5)
    with pytest.raises(WeightsError, match="280 missing"):
        loaded(tmp_path, renamed)


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"fit resnet50: .*\. These are the weights of resnet34: set arch"):
        loaded(tmp_path, zeros_of("resnet34"), "resnet50")
    of_larger = {f"module.{name}": tensor for name, tensor in zeros_of("resnet101").items()}
    with pytest.raises(WeightsError, match=r"306 unexpected: .*These are the weights of resnet101"):
        loaded(tmp_path, of_larger, "resnet50")


def test_weights_for_another_image_size_say_so(tmp_path: Path) -> None:
    other = zeros_of("vit_b_32") | {"encoder.pos_embedding": torch.zeros(()).expand(1, 145, 768)}
    with pytest.raises(WeightsError, match=r"\[1, 145, 768\] instead .*It is for images of another size than 224 px"):
        loaded(tmp_path, other, "vit_b_32")


@pytest.mark.parametrize(
    ("architecture", "present", "old"),
    [
        ("densenet121", ("norm1.", "norm2.", "conv1.", "conv2."), ("norm.1.", "norm.2.", "conv.1.", "conv.2.")),
        ("vit_b_32", ("mlp.0.", "mlp.3."), ("mlp.linear_1.", "mlp.linear_2.")),
    ],
)
def test_names_in_older_files_of_torchvision(
    tmp_path: Path, architecture: str, present: tuple[str, ...], old: tuple[str, ...]
) -> None:
    state = zeros_of(architecture)
    older = {}
    for name in state:
        before = name
        for new, former in zip(present, old, strict=True):
            before = before.replace(new, former) if ("layer" in name and "transition" not in name) else before
        older[before] = state[name]
    assert older.keys() != state.keys()
    assert with_present_names(older).keys() == state.keys()
    assert loaded(tmp_path, older, architecture).keys() == find_backbone(architecture).without_head(state).keys()


def test_half_precision_becomes_single(tmp_path: Path, state: StateDict) -> None:
    """torchvision's wide ResNets are published in half precision."""
    half = {name: each.half() if each.is_floating_point() else each for name, each in state.items()}
    found = loaded(tmp_path, half)
    assert found["conv1.0.weight"].dtype == torch.float32
    assert torch.equal(found["conv1.0.weight"], half["conv1.0.weight"].float())


def test_integer_buffers_are_weights_too(tmp_path: Path) -> None:
    found = loaded(tmp_path, zeros_of("swin_t"), "swin_t")
    assert found["features.1.0.attn.relative_position_index"].dtype == torch.int64


def test_timm_converts_files_of_original_projects(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Here: positions for images of another size, and a token that only self-supervised training needs."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    original = timm.create_model("test_vit", img_size=192, num_classes=0).state_dict()
    found = loaded(tmp_path, {f"module.{name}": each for name, each in original.items()}, "timm:test_vit")
    assert found["pos_embed"].shape == (1, 101, 64)
    assert torch.equal(found["blocks.0.attn.qkv.weight"], original["blocks.0.attn.qkv.weight"])
    assert "timm converted them" in caplog.text


def test_the_record_of_a_file_has_no_license(tmp_path: Path, state: StateDict) -> None:
    torch.save(state, tmp_path / "mine.pth")
    record = load_pretrained(SMALL, str(tmp_path / "mine.pth")).record
    assert record is not None
    assert (record.library, record.weights) == ("torchvision", str(tmp_path / "mine.pth"))
    assert (record.license, record.source) == (None, None)
