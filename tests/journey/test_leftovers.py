"""What is removed from a journey's folder before it continues."""

from __future__ import annotations

from pathlib import Path

from breedclf.files.disk import replacing
from breedclf.journey.leftovers import remove_leftovers


def test_unfinished_files_are_removed_and_others_stay(tmp_path: Path) -> None:
    with replacing(tmp_path / "journey.json") as part:  # the name that an atomic write uses
        part.write_text("{")
        name = part.name
    (tmp_path / name).write_text("{")
    staging = tmp_path / "tuning" / "trial" / ".model-x1y2"
    (staging / "model").mkdir(parents=True)
    (tmp_path / ".model-new").mkdir()
    for kept in (".journey.lock", ".dataset.json", "journey.html", "a.part"):
        (tmp_path / kept).write_text("")
    (tmp_path / "model").mkdir()
    assert {path.name for path in remove_leftovers(tmp_path)} == {name, ".model-x1y2", ".model-new"}
    assert {path.name for path in tmp_path.iterdir()} == {
        ".journey.lock", ".dataset.json", "journey.html", "a.part", "model", "tuning", "journey.json",
    }  # fmt: skip
    assert not staging.exists()
