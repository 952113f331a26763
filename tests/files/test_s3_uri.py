"""S3 URIs: their parts, those that a `Path` has shortened, and names of buckets."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf.api.trainer import Trainer
from breedclf.cli import main
from breedclf.cli.flags import data_arguments
from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError
from breedclf.files.s3_uri import S3Location, is_bucket_name, is_s3, whole_uri


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [("s3://mine", "mine", ""), ("s3://mine/", "mine", ""), ("s3://mine/a/b/", "mine", "a/b/")],
)
def test_bucket_and_key_of_a_uri(uri: str, bucket: str, key: str) -> None:
    assert S3Location.parse(uri) == (bucket, key)


@pytest.mark.parametrize(
    "uri", ["", "mine/dogs", "s3:/mine/dogs", "s3://", "s3:///dogs", "S3://mine/dogs", "gs://mine"]
)
def test_another_uri_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="is not an S3 URI: use s3://BUCKET/PREFIX"):
        S3Location.parse(uri)


@pytest.mark.parametrize(
    ("uri", "odd", "remedy"),
    [
        ("s3://mine/a/../b", "'..'", "s3://mine/b"),
        ("s3://mine/a//b", "''", "s3://mine/a/b"),
        ("s3://mine/./b/", "'.'", "s3://mine/b"),
    ],
)
def test_parts_that_s3_takes_literally_are_refused(uri: str, odd: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        S3Location.parse(uri).require_plain()
    assert f"has the part {odd}" in str(refusal.value) and str(refusal.value).endswith(f"use {remedy}")


@pytest.mark.parametrize("uri", ["s3://mine", "s3://mine/dogs", "s3://mine/dogs/"])
def test_plain_uris_are_accepted(uri: str) -> None:
    assert S3Location.parse(uri).require_plain() == S3Location.parse(uri)


def test_a_path_made_of_a_uri_is_still_one() -> None:
    path = Path("s3://mine/dogs/train")
    assert str(path) == "s3:/mine/dogs/train"
    assert is_s3(path) and whole_uri(path) == "s3://mine/dogs/train"
    assert not is_s3(Path("mine/s3:/dogs")) and whole_uri(Path("mine/dogs")) == "mine/dogs"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("dogs", True), ("my.dogs-2", True), ("ab", False), ("a" * 64, False), ("Dogs", False), ("-dogs", False)],
)
def test_names_of_buckets(name: str, is_one: bool) -> None:
    assert is_bucket_name(name) == is_one


def test_settings_keep_the_uri_of_images_in_json_and_as_hyperparameters() -> None:
    config = TrainingConfig(data="s3://mine/dogs", start_from="s3://mine/model")
    assert config.to_dict()["data"] == config.to_hyperparameters()["data"] == "s3://mine/dogs"
    assert config.to_dict()["start_from"] == "s3://mine/model"
    assert TrainingConfig(**config.to_dict()).data == config.data
    assert "'s3://mine/dogs'" in repr(Trainer(config))
    assert data_arguments(config) == "DIR, where DIR is a copy of s3://mine/dogs"


@pytest.mark.parametrize("setting", ["output", "cache_dir"])
def test_what_is_written_is_not_written_to_a_folder_named_like_a_uri(setting: str) -> None:
    with pytest.raises(ConfigError, match=f"^{setting}='s3://mine/out': give a folder of this machine, not one in S3$"):
        TrainingConfig(data="dogs", **{setting: "s3://mine/out"})


@pytest.mark.parametrize(
    "command",
    [
        ["train", "s3://mine/x", "--weights", "none"],
        ["train", ".", "--labels", "s3://mine/x"],
        ["data", "check", "s3://mine/x"],
        ["evaluate", "s3://mine/x", "."],
        ["predict", "s3://mine/x", "a.jpg"],
    ],
    ids=" ".join,
)
def test_commands_that_read_on_this_machine_say_so(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) != 0
    assert "s3://mine/x is in S3, which only jobs on SageMaker read: copy it" in capsys.readouterr().err
