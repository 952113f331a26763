"""The profile file: round trip, size, and what it says when it can't be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from breedclf.errors import ProfileError
from breedclf.profiling.profile import SCHEMA_VERSION, Profile, Steps
from tests.profiling import planted_profiles as planted


def test_a_saved_profile_reads_back_the_same(tmp_path: Path) -> None:
    profile = planted.clean()
    profile.save(tmp_path)
    again = Profile.load(tmp_path)
    assert again.to_json() == profile.to_json()
    np.testing.assert_allclose(again.steps.duration, profile.steps.duration, atol=1e-7)
    assert not list(tmp_path.glob(".*"))


def test_what_is_no_number_survives_the_file() -> None:
    sick = planted.tensor("gradient", snapshots=3, mean_abs=[1e-12, np.inf, np.nan], finite=[1, 0, 0])
    again = Profile.from_json(planted.clean(tensors=(sick,)).to_json())
    assert again.tensors[0].measures["mean_abs"].tolist()[:2] == [1e-12, np.inf]
    assert np.isnan(again.tensors[0].measures["mean_abs"][2])


def test_a_hundred_thousand_steps_take_less_than_twenty_megabytes(tmp_path: Path) -> None:
    count = 100_000
    draw = planted.random()
    parts = {name: draw.random(count) * 1e-3 for name in ("data_wait", "to_device", "forward", "backward", "optimizer")}
    long = planted.steps(duration=1e-2 * (1 + draw.random(count)), parts=parts)
    path = planted.clean(steps=long).save(tmp_path / "profile.json")
    assert path.stat().st_size < 20e6
    assert len(Profile.load(path).steps) == count


def test_steps_know_their_phases_and_nodes() -> None:
    steps = planted.steps(100)
    assert {(node, phase): int(mask.sum()) for node, phase, mask in steps.groups()} == {
        ("local", "train"): 80,
        ("local", "valid"): 20,
    }
    assert steps.of("valid").sum() == 20
    assert steps.of("no such phase").sum() == 0


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValidationError, match="column duration has 1 values, start has 2"):
        Steps(start=[0.0, 1.0], duration=[1.0], phase=[0, 0], node=[0, 0], epoch=[0, 0], pictures=[0, 0], traced=[0, 0])


def test_a_step_of_an_unnamed_phase_is_refused() -> None:
    with pytest.raises(ValidationError, match="points outside its 1 names"):
        planted.steps(10, phases=("train",), phase=np.ones(10, dtype=int))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: profile the run again"),
        ('{"schema_version": 1, "job": {"na', "is truncated or not JSON"),
        ("[1, 2]", "not a breedclf profile"),
        ('{"schema_version": "one", "job": {}}', "schema_version 'one'"),
        ('{"schema_version": 1, "job": {"name": "a"}}', r"damaged at job.start"),
    ],
)
def test_a_damaged_profile_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(ProfileError, match=message):
        Profile.load(path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    values = json.loads(planted.clean().to_json())
    (tmp_path / "profile.json").write_text(json.dumps({**values, "schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(ProfileError, match=f"schema {SCHEMA_VERSION + 1}, written by a newer breedclf.*upgrade"):
        Profile.load(tmp_path)


def test_a_missing_profile_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="can't be read"):
        Profile.load(tmp_path / "nothing.json")


def test_renamed_fields_keep_their_keys_in_the_file(tmp_path: Path) -> None:
    profile = planted.clean()
    document = json.loads(profile.to_json())
    assert document["steps"]["pictures"] == profile.steps.images.tolist()
    assert document["loader"]["pictures_measured"] == profile.loader.images_measured
    assert document["compute"]["pictures_per_step"] == profile.compute.images_per_step
    assert document["overhead"]["tensors_looks"] == profile.overhead.tensor_snapshots
    assert not {"images", "images_measured", "images_per_step", "tensor_snapshots"} & {
        key for part in ("steps", "loader", "compute", "overhead") for key in document[part]
    }
    assert Profile.load(profile.save(tmp_path / "profile.json")).to_json() == profile.to_json()
