"""The command line's frame as the user meets it: version, help, and wrong usage without a traceback."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

import breedclf
from breedclf.cli import COMMANDS, main


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _usage_error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    return capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"breedclf {breedclf.__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert [command for command in COMMANDS if command not in out] == []


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_has_help_and_takes_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert "COMMAND" in _usage_error(capsys)


def test_an_unknown_command_names_the_nearest_or_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown command 'trian': did you mean 'train'?" in _usage_error(capsys, "trian")
    assert "valid names are backbones, cache, console, data, demo" in _usage_error(capsys, "xyz")


def test_an_unknown_flag_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown argument --epoch: did you mean --epochs?" in _usage_error(capsys, "train", "dogs", "--epoch", "2")
    assert "unknown argument --leaning-rate=1: did you mean --learning-rate?" in _usage_error(
        capsys, "train", "dogs", "--leaning-rate=1"
    )


def test_a_superfluous_word_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    told = _usage_error(capsys, "train", "dogs", "cats")
    assert told == "breedclf train: error: unknown argument cats\nbreedclf train --help lists all arguments\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dogs", "--epochs", "two"], "epochs='two': input should be a valid integer"),
        (["dogs", "--epochs", "0"], "epochs='0': input should be greater than or equal to 1"),
        (["dogs", "--learning-rate", "fast"], "learning_rate='fast': input should be a valid number"),
        (["dogs", "--learning-rate", "nan"], "learning_rate='nan': "),
        (["dogs", "--head", "liner"], "head='liner': input should be 'standardized', 'whitened' or 'linear'"),
        (["dogs", "--on-bad-image", "ignore"], "on_bad_image='ignore': input should be 'error' or 'skip'"),
        (["dogs", "--config", "nowhere.yaml"], "settings file nowhere.yaml can't be read"),
        ([], "setting 'data' is required"),
    ],
)
def test_a_wrong_setting_ends_with_2_and_no_traceback(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("breedclf: ")
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_an_unknown_key_in_a_settings_file_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    Path("settings.toml").write_text('data = "dogs"\nlearing_rate = 0.1\n', encoding="utf-8")
    assert main(["train", "--config", "settings.toml"]) == 2
    assert "unknown setting 'learing_rate': did you mean 'learning_rate'?" in capsys.readouterr().err


def test_a_misspelt_environment_variable_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BREEDCLF_LEARNINGRATE", "0.1")
    assert main(["train", "dogs"]) == 2
    assert "BREEDCLF_LEARNINGRATE: did you mean BREEDCLF_LEARNING_RATE?" in capsys.readouterr().err


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(breedclf.errors.ConfigError):
        main(["train", "dogs", "--epochs", "two", "--debug"])


def test_a_missing_folder_ends_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "nowhere", "--weights", "none", "--json"]) == 3
    captured = capsys.readouterr()
    assert "nowhere" in captured.err
    assert captured.out == ""


def test_json_is_one_document_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "list", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), (dict, list))


def test_a_command_leaves_the_callers_logging_as_it_was() -> None:
    logger = logging.getLogger("breedclf")
    before = list(logger.handlers), logger.level, logger.propagate
    assert main(["cache", "list", "--quiet"]) == 0
    assert (list(logger.handlers), logger.level, logger.propagate) == before


def test_a_place_to_profile_that_isnt_there_is_no_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(tmp_path / "nothing")]) != 0
    assert f"{tmp_path / 'nothing'} doesn't exist: give a folder" in capsys.readouterr().err
