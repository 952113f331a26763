"""S3 URIs as text: `s3://BUCKET/KEY`."""

from __future__ import annotations

import os
import posixpath
import re
from typing import NamedTuple, Self

from breedclf.errors import ConfigError
from breedclf.files.paths import StrPath

SCHEME = "s3://"
_COLLAPSED = "s3:/"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")


class S3Location(NamedTuple):
    """A bucket and a key or prefix."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Parse `s3://bucket/key`.

        Raises:
            ConfigError: it isn't an S3 URI.

        Example:
            >>> S3Location.parse("s3://mine/dogs/train")
            S3Location(bucket='mine', key='dogs/train')
        """
        bucket, _, key = uri.removeprefix(SCHEME).partition("/")
        if not uri.startswith(SCHEME) or not bucket:
            raise ConfigError(f"{uri!r} is not an S3 URI: use s3://BUCKET/PREFIX")
        return cls(bucket, key)

    @property
    def odd_part(self) -> str | None:
        """The first part of the key that is empty, `.` or `..`: S3 takes these as names, unlike most programs."""
        parts = self.key.removesuffix("/").split("/") if self.key else []
        return next((part for part in parts if part in ("", ".", "..")), None)

    def require_plain(self) -> Self:
        """Reject a key with an `odd_part`.

        Raises:
            ConfigError: the key has one.
        """
        if (odd := self.odd_part) is not None:
            normalized = posixpath.normpath(f"/{self.key}").lstrip("/")
            raise ConfigError(
                f"{str(self)!r} has the part {odd!r}, literal in S3: use {SCHEME}{self.bucket}/{normalized}"
            )
        return self

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


def is_s3(uri: StrPath) -> bool:
    """Whether this is an S3 URI rather than a path; a `Path` is one if it was made of an S3 URI.

    Example:
        >>> from pathlib import Path
        >>> is_s3("s3://mine/dogs"), is_s3(Path("s3://mine/dogs")), is_s3("dogs")
        (True, True, False)
    """
    return whole_uri(uri).startswith(SCHEME)


def whole_uri(path: StrPath) -> str:
    """A path or S3 URI as text, with the slash that `Path` drops from an S3 URI.

    Example:
        >>> from pathlib import Path
        >>> whole_uri(Path("s3://mine/dogs")), whole_uri(Path("dogs"))
        ('s3://mine/dogs', 'dogs')
    """
    text = os.fspath(path)
    return SCHEME + text.removeprefix(_COLLAPSED).lstrip("/") if text.startswith(_COLLAPSED) else text


def only_in_s3(path: StrPath) -> str | None:
    """What to say where a path on this machine is needed; None for such a path.

    Example:
        >>> only_in_s3("s3://mine/dogs")
        's3://mine/dogs is in S3, which only jobs on SageMaker read: copy it to this machine first (aws s3 cp or sync)'
    """
    if not is_s3(path):
        return None
    return (
        f"{whole_uri(path)} is in S3, which only jobs on SageMaker read: copy it to this machine first "
        "(aws s3 cp or sync)"
    )


def is_bucket_name(name: str) -> bool:
    """Whether a bucket may have this name: 3 to 63 lowercase letters, digits, dots and hyphens.

    Example:
        >>> is_bucket_name("my-dogs"), is_bucket_name("My_Dogs")
        (True, False)
    """
    return _BUCKET.fullmatch(name) is not None
