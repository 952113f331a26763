"""The groups of settings in help: every setting in exactly one, the most common ones first."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain

import pytest

from breedclf.cli import main
from breedclf.config import EvaluationConfig, Settings, TrainingConfig
from breedclf.config.groups import EVALUATION_GROUPS, TRAINING_GROUPS


@pytest.mark.parametrize(
    ("model", "groups", "elsewhere"),
    [(TrainingConfig, TRAINING_GROUPS, {"data"}), (EvaluationConfig, EVALUATION_GROUPS, set())],
)
def test_every_setting_is_in_one_group(
    model: type[Settings], groups: dict[str, tuple[str, ...]], elsewhere: set[str]
) -> None:
    counts = Counter(chain.from_iterable(groups.values()))
    assert set(counts) == set(model.model_fields) - elsewhere
    assert set(counts.values()) == {1}


def test_train_help_shows_a_dozen_settings_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = capsys.readouterr().out
    titles = re.findall(r"^([a-z ]+):$", out, re.MULTILINE)
    assert titles == ["positional arguments", "options", *TRAINING_GROUPS, "common options"]
    first, *_ = re.findall(r"^common settings:\n(.*?)\n\n", out, re.MULTILINE | re.DOTALL)
    flags = re.findall(r"^  --([a-z-]+)", first, re.MULTILINE)
    assert flags == [name.replace("_", "-") for name in TRAINING_GROUPS["common settings"]]
    assert 12 <= len(flags) <= 14
    assert out.index("common settings:") < 1_000, "before pages of other flags"
