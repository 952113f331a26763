"""Where smdebug isn't, or where numpy or protobuf are too new for it: what is said, and that nothing else suffers."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf import ProfilingSession
from breedclf.errors import MissingExtraError
from breedclf.profiling.debugger.requirements import NEEDED, load_smdebug, problems

FITTING = dict.fromkeys(NEEDED, "1.0") | {"numpy": "2.2.6", "protobuf": "3.20.3"}


def test_versions_that_fit_are_no_problem() -> None:
    assert problems(FITTING.get) == []


@pytest.mark.parametrize(
    ("installed", "reported"),
    [
        ({"smdebug": None}, "smdebug is not installed"),
        ({"pandas": None}, "pandas is not installed"),
        ({"numpy": "2.3.0rc1"}, "numpy is 2.3.0rc1, must be below 2.3"),
        ({"numpy": "2.4.6"}, "numpy is 2.4.6, must be below 2.3"),
        ({"protobuf": "6.33.1"}, "protobuf is 6.33.1, must be below 3.20.4"),
    ],
)
def test_what_does_not_fit_is_named_with_what_to_install(installed: dict[str, str | None], reported: str) -> None:
    versions: dict[str, str | None] = {**FITTING, **installed}
    with pytest.raises(MissingExtraError) as caught:
        load_smdebug("smdebug.pytorch", version_of=versions.get)
    assert reported in str(caught.value)
    assert "pip install 'breedclf[debugger]'" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_trial_without_smdebug_says_what_to_install(tmp_path: Path) -> None:
    if not problems():
        pytest.skip("smdebug works here")
    place = tmp_path / "collections" / "000000000"
    place.mkdir(parents=True)
    (place / "worker_0_collections.json").write_text("{}")
    with pytest.raises(MissingExtraError, match="smdebug is not installed"):
        ProfilingSession.attach(tmp_path)
