"""The bank: which images it has, its threshold, how it is shortened, and when there is none."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F

from breedclf.training.results.bank import Images, auroc, chosen_rows, held_out_auroc, limited_bank, quantile


def clouds(per_class: int, classes: int, features: int = 40, seed: int = 0, spread: float = 0.5) -> Images:
    """Images of classes around random centers."""
    centers = torch.randn(classes, features, generator=torch.Generator().manual_seed(7))
    targets = torch.arange(classes).repeat_interleave(per_class)
    noise = torch.randn(len(targets), features, generator=torch.Generator().manual_seed(seed))
    return Images(centers[targets] + spread * noise, targets)


def test_rows_are_at_most_50_of_each_class_evenly_spaced() -> None:
    targets = torch.tensor([1, 0, 1] * 100)
    rows = chosen_rows(targets)
    assert torch.bincount(targets[rows]).tolist() == [50, 50]
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert rows[targets[rows] == 0].diff().unique().tolist() == [6]
    assert len(chosen_rows(torch.arange(3_000))) == 3_000, "one of each class"
    assert len(chosen_rows(torch.arange(6_000) % 133)) == 133 * 15


def test_with_few_validation_images_each_image_is_compared_to_all_others() -> None:
    train, valid = clouds(12, 4), clouds(3, 4, seed=1)
    found = limited_bank(train, valid)
    assert found is not None
    pool = F.normalize(torch.cat([train.features, valid.features]), dim=1)
    distances = []
    for at in range(len(pool)):
        others = torch.cat([pool[:at], pool[at + 1 :]])
        distances.append(float((1 - others @ pool[at]).sort().values[4]))
    assert (found.limited_on, found.images, len(found.bank.rows)) == ("training and valid", 60, 60)
    assert found.threshold == pytest.approx(sorted(distances)[57], abs=2e-3)  # rank ceil(61 * 0.95) = 58


def test_with_50_validation_images_the_bank_has_training_images_alone() -> None:
    train, valid = clouds(30, 3), clouds(20, 3, seed=1)
    found = limited_bank(train, valid)
    assert found is not None
    distances = found.bank.distances(valid.features)
    assert (found.limited_on, found.images, len(found.bank.rows)) == ("valid", 60, 90)
    assert found.threshold == pytest.approx(float(distances.sort().values[57]), abs=1e-6)


def test_a_new_image_is_kept_as_often_as_promised() -> None:
    kept = []
    for seed in range(20):
        found = limited_bank(clouds(15, 4, seed=3 * seed), clouds(20, 4, seed=3 * seed + 1))
        assert found is not None
        kept.append(
            (found.bank.distances(clouds(50, 4, seed=3 * seed + 2).features) <= found.threshold).double().mean()
        )
    assert 0.94 <= float(torch.stack(kept).mean()) <= 0.98


def test_a_large_bank_is_shortened_and_tells_apart_as_well() -> None:
    train, valid = clouds(40, 30, 1_500), clouds(3, 30, 1_500, seed=1)
    unlike = torch.randn(200, 1_500, generator=torch.Generator().manual_seed(9))
    before = torch.get_rng_state()
    found, again = limited_bank(train, valid), limited_bank(train, valid)
    assert torch.equal(before, torch.get_rng_state())
    assert found is not None
    assert again is not None
    assert torch.equal(found.bank.rows, again.bank.rows)
    assert found.bank.basis is not None
    assert found.bank.rows.shape == (1_200, 128)
    assert 2 * found.bank.rows.numel() + 4 * found.bank.basis.numel() < 3_000_000
    assert torch.allclose(found.bank.basis.T @ found.bank.basis, torch.eye(128), atol=1e-4)
    new = clouds(5, 30, 1_500, seed=2).features
    assert auroc(found.bank.distances(new), found.bank.distances(unlike)) > 0.99
    assert (found.bank.distances(new) <= found.threshold).double().mean() > 0.85


def test_too_few_images_are_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "breedclf")
    assert limited_bank(clouds(1, 2), clouds(1, 2, seed=1)) is None
    assert "no feature bank: 2 training and 2 validation images are too few" in caplog.text
    assert limited_bank(clouds(15, 2), clouds(1, 2, seed=1)) is not None, "30 of either are enough"


def test_equal_features_leave_every_image_known(caplog: pytest.LogCaptureFixture) -> None:
    same = Images(torch.full((40, 8), 0.3), torch.arange(40) % 2)
    for valid in (same, Images(same.features.repeat(2, 1), same.targets.repeat(2))):
        found = limited_bank(same, valid)
        assert found is not None
        assert bool((found.bank.distances(same.features) <= found.threshold).all())
        assert "tells nothing apart: all images have the same features" in caplog.text


@pytest.mark.parametrize("features", [8, 1_500])
def test_features_without_a_value_give_no_bank(caplog: pytest.LogCaptureFixture, features: int) -> None:
    broken = clouds(40, 30, features)
    broken.features[:, 0] = torch.nan
    assert limited_bank(broken, clouds(2, 30, features)) is None
    assert "NaN or infinite" in caplog.text


def test_a_held_out_class_is_measured_without_its_rows() -> None:
    train, valid = clouds(20, 3), clouds(20, 3, seed=1)
    rows, queries = F.normalize(train.features, dim=1), F.normalize(valid.features, dim=1)
    found = []
    for label in range(3):
        others = rows[train.targets != label]
        distances = 1 - (queries @ others.T).topk(5, dim=1).values[:, -1]
        found.append(auroc(distances[valid.targets != label], distances[valid.targets == label]))
    measured = held_out_auroc(queries @ rows.T, valid.targets, train.targets, 5)
    assert measured == pytest.approx(sum(found) / 3)
    assert held_out_auroc(queries @ rows.T, valid.targets, torch.zeros(60, dtype=torch.int64), 5) is None


def test_equal_distances_count_half() -> None:
    assert auroc(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0])) == (1 + 0.5 + 1 + 1) / 4
    assert quantile(torch.arange(10.0), 0.95) == 9
