"""S3 URIs: their parts, those that a `Path` has shortened, and names of buckets."""

from __future__ import annotations

from pathlib import Path

import pytest

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
