"""Import paths of own code in the settings: what is accepted, how it is normalized, and what is refused."""

from __future__ import annotations

import pytest

from breedclf import TrainingConfig
from breedclf.config.import_path import MAX_OWN_METRICS, ImportPath
from breedclf.errors import ConfigError


@pytest.mark.parametrize(
    ("setting", "value", "stored"),
    [
        ("loss", " mycode:Focal ", "mycode:Focal"),
        ("loss", "./code/mycode.py:Focal", "./code/mycode.py:Focal"),
        ("loss", "C:\\code\\mycode.py:focal", "C:\\code\\mycode.py:focal"),
        ("loss", "pack.losses:Focal.made", "pack.losses:Focal.made"),
        ("loss", None, "cross_entropy"),
        ("loss", "Cross_Entropy", "cross_entropy"),
        ("sampler", "none", "shuffle"),
        ("sampler", "mycode:balanced", "mycode:balanced"),
        ("metrics", ["mycode:top2", " f1 = mycode:F1"], "mycode:top2,f1=mycode:F1"),
        ("metrics", "", "none"),
        ("metrics", [], "none"),
    ],
)
def test_a_path_is_accepted_as_text_and_imports_nothing(setting: str, value: object, stored: str) -> None:
    config = TrainingConfig(data="dogs", **{setting: value})
    assert getattr(config, setting) == stored
    assert TrainingConfig.from_hyperparameters(config.to_hyperparameters()) == config


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("loss", "focal", "loss: 'focal' is no import path: write MODULE:NAME, as in mycode:focal, or FILE.py:NAME"),
        ("loss", "crossentropy", "loss='crossentropy': did you mean 'cross_entropy'?"),
        ("loss", "mycode:", "loss: 'mycode:' is no import path"),
        ("loss", "code/mycode:Focal", "'code/mycode' is no module; a file ends in .py"),
        ("loss", "my-code:Focal", "'my-code' is no module"),
        ("loss", "mycode:2nd", "'2nd' is no name in Python"),
        ("loss", "mycode:focal(2.0)", "'focal(2.0)' is no name in Python"),
        ("sampler", "shufle", "did you mean 'shuffle'?"),
        ("metrics", "top2", "metrics: 'top2' is no import path"),
        ("metrics", "a:top2,b:top2", "the metric 'top2' is given twice; name one of them otherwise"),
        ("metrics", "a:valid_loss", "the metric name 'valid_loss' is taken by a built-in one"),
        ("metrics", "a:best_of", "the metric name 'best_of' is taken"),
        ("metrics", "a:F1", "'F1' must be in lower_snake_case, at most 64 characters; name it otherwise, as in f1="),
        ("metrics", ",".join(f"a:m{number}" for number in range(MAX_OWN_METRICS + 1)), "21 metrics: at most 20"),
    ],
)
def test_what_is_no_path_is_refused_with_the_form(setting: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(data="dogs", **{setting: value})
    assert words in str(caught.value)


@pytest.mark.parametrize("other", [{"label_smoothing": 0.1}, {"class_weights": "balanced"}], ids=str)
def test_settings_of_cross_entropy_do_not_go_with_another_loss(other: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(other))}=.* in your loss, and set {next(iter(other))}="):
        TrainingConfig(data="dogs", loss="mycode:focal", **other)
    assert TrainingConfig(data="dogs", loss="mycode:focal", mixup=0.2).mixup == 0.2


def test_the_settings_say_where_own_code_is() -> None:
    config = TrainingConfig(data="dogs", loss="code/mycode.py:Focal", metrics="pack.metrics:top2,f1=pack.metrics:F1")
    assert config.own_code == {
        "loss": ImportPath("code/mycode.py", "Focal"),
        "metric top2": ImportPath("pack.metrics", "top2"),
        "metric f1": ImportPath("pack.metrics", "F1"),
    }
    assert [path.top for path in config.own_code.values()] == ["mycode.py", "pack", "pack"]
    assert TrainingConfig(data="dogs").own_code == {}
