"""A feature bank on disk: read as it was written, and refused if it is damaged, missing or of another network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from breedclf.errors import ArtifactError
from breedclf.inference.feature_bank import BANK_FILE, BankRecord, FeatureBank


def record(images: int = 6) -> BankRecord:
    return BankRecord(
        sha256="0" * 64,
        images=images,
        neighbor=2,
        threshold=0.5,
        kept_share=0.95,
        limited_on="valid",
        limited_on_images=9,
    )


@pytest.mark.parametrize("is_short", [False, True])
def test_it_is_read_as_it_was_written(tmp_path: Path, is_short: bool) -> None:
    basis = torch.linalg.qr(torch.randn(8, 3)).Q if is_short else None
    bank = FeatureBank(torch.nn.functional.normalize(torch.randn(6, 3 if is_short else 8), dim=1).half(), 2, basis)
    bank.save(tmp_path)
    loaded, features = FeatureBank.load(tmp_path, record(), 8), torch.randn(4, 8)
    assert torch.allclose(loaded.distances(features), bank.distances(features), atol=1e-6)
    assert torch.allclose(loaded.distances(3 * features), bank.distances(features), atol=1e-5), "length doesn't matter"


@pytest.mark.parametrize(
    "tensors",
    [
        {"rows": torch.ones(6, 9)},
        {"rows": torch.ones(5, 8)},
        {"rows": torch.ones(6)},
        {"others": torch.ones(6, 8)},
        {"rows": torch.full((6, 8), torch.nan)},
        {"rows": torch.ones(6, 3), "basis": torch.ones(9, 3)},
        {"rows": torch.ones(6, 3), "basis": torch.ones(8, 4)},
        {"rows": torch.ones(6, 3), "basis": torch.ones(3)},
    ],
    ids=["wider", "fewer", "flat", "other names", "nan", "basis of another network", "other basis", "flat basis"],
)
def test_a_bank_that_does_not_fit_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, tmp_path / BANK_FILE)
    with pytest.raises(ArtifactError, match="doesn't fit the model, whose images have 8 features"):
        FeatureBank.load(tmp_path, record(), 8)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / BANK_FILE).write_bytes(b"\xff" * 64)
    with pytest.raises(ArtifactError, match=r"can't be read: .*; train again or restore the file"):
        FeatureBank.load(tmp_path, record(), 8)
