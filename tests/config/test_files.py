"""Settings files as people save them, and as nobody should: marks of encoding, bombs, and tables that are no table."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from breedclf.config import TrainingConfig
from breedclf.config.files import MAX_BYTES, read_settings
from breedclf.errors import ConfigError

TEXTS = {
    ".json": '{"data": "Müll", "epochs": 2}',
    ".toml": 'data = "Müll"\nepochs = 2\n',
    ".yaml": "data: Müll\nepochs: 2\n",
}
SECONDS = 5.0


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def written(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return written


@pytest.mark.parametrize("suffix", TEXTS)
def test_the_mark_of_utf_8_is_taken(suffix: str, write: Callable[[str, bytes], Path]) -> None:
    config = TrainingConfig.from_file(write("a" + suffix, TEXTS[suffix].encode("utf-8-sig")))
    assert (config.data, config.epochs) == (Path("Müll"), 2)


@pytest.mark.parametrize("suffix", TEXTS)
@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("utf-16", "is UTF-16: save it as UTF-8"),
        ("utf-32", "is UTF-32: save it as UTF-8"),
        ("utf-16-le", "save it as UTF-8"),
        ("latin-1", "it isn't UTF-8 .*save it as UTF-8"),
    ],
)
def test_another_encoding_is_told(suffix: str, encoding: str, words: str, write: Callable[[str, bytes], Path]) -> None:
    with pytest.raises(ConfigError, match=words):
        read_settings(write("a" + suffix, TEXTS[suffix].encode(encoding)))


def chained(line: Callable[[str], str]) -> str:
    """Nine anchors, each with ten aliases of the one before it: a thousand million values."""
    return "".join(f"{name}: &{name} {line(before)}\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True))


BOMBS = {
    "aliases.yaml": "a: &a [x, x]\n" + chained(lambda before: "[" + ", ".join([f"*{before}"] * 10) + "]"),
    "merged.yaml": "a: &a {k: v}\n" + chained(lambda before: "{<<: [" + ", ".join([f"*{before}"] * 10) + "]}"),
    "itself.yaml": "a: &a [*a]\n",
    "deep.yaml": "a: " + "[" * 20_000,
    "dashes.yaml": "- " * 20_000,
    "deep.json": "[" * 100_000 + "]" * 100_000,
    "twenty.json": '{"a":' * 25 + "1" + "}" * 25,
    "deep.toml": "a = " + "[" * 20_000,
    "dots.toml": "a" + ".a" * 20_000 + " = 1\n",
    "digits.json": '{"epochs": ' + "9" * 5_000 + "}",
    "large.yaml": "# nothing\n" * (MAX_BYTES // 10 + 1),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_take_for_ever_is_refused_at_once(name: str, write: Callable[[str, bytes], Path]) -> None:
    path, started = write(name, BOMBS[name].encode()), time.process_time()
    with pytest.raises(ConfigError, match=f"settings file .*{name} .*(too deep|more than|larger than|limit)"):
        read_settings(path)
    assert time.process_time() - started < SECONDS


def test_anchors_that_people_use_are_read(write: Callable[[str, bytes], Path]) -> None:
    text = b"base: &base {epochs: 3, seed: 1}\nown:\n  <<: *base\n  seed: 2\n"
    assert read_settings(write("a.yaml", text))["own"] == {"epochs": 3, "seed": 2}


@pytest.mark.parametrize("text", ["1: 2\n", "on: true\n", "null: 1\n"])
def test_a_name_that_is_no_text_is_told(text: str, write: Callable[[str, bytes], Path]) -> None:
    with pytest.raises(ConfigError, match="setting names must be text, not"):
        TrainingConfig.from_file(write("a.yaml", text.encode()))
