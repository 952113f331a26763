"""What a terminal is sent: whatever classes and files are called, and whatever encoding and reader there is."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from breedclf.cli import COMMANDS, main
from breedclf.cli.terminal import Terminal
from breedclf.errors import DataError
from breedclf.text.plain_json import plain_values
from breedclf.text.printable import VisibleFormatter, storable, visible, visible_name

LIMIT_SECONDS = 120
NASTY = "dog\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj.exe\u2066\u2028\udce9\x00\x7f\r"
RUN = [sys.executable, "-c"]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*RUN, textwrap.dedent(code)],
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **environment},
        timeout=LIMIT_SECONDS,
    )


def test_nothing_is_left_that_controls_a_terminal() -> None:
    shown = visible(NASTY)
    assert shown == r"dog\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj.exe\u2066\u2028\xe9\x00\x7f\x0d"
    shown.encode("ascii")
    assert visible("Müll 🐶\n\tzwei") == "Müll 🐶\n\tzwei"
    assert visible_name("a\nb\tc") == r"a\nb\tc"
    everything = "".join(map(chr, range(0x110000)))
    left = visible(everything)
    assert not [c for c in left if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0]
    left.encode("utf-8")


def test_text_that_no_encoding_writes_is_written_as_its_bytes() -> None:
    assert storable("caf\udce9.jpg") == r"caf\xe9.jpg"
    assert plain_values({"\udce9": ["\udce9", 1, None, ("\ud800",)]}) == {r"\xe9": [r"\xe9", 1, None, [r"\ud800"]]}
    assert str(DataError("caf\udce9.jpg is gone")) == r"caf\xe9.jpg is gone"


def test_results_notes_and_errors_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.result(None, NASTY)
    terminal.note(NASTY)
    terminal.error(NASTY)
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert captured.out == visible(NASTY) + "\n"


def test_json_is_ascii_that_every_reader_takes(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(json=True).result({"path": NASTY}, "")
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\\udc" not in out
    assert json.loads(out)["path"] == storable(NASTY)


def test_the_log_is_harmless() -> None:
    record = logging.LogRecord("breedclf", logging.INFO, "", 1, "skipped %s", (NASTY,), None)
    assert VisibleFormatter("%(message)s").format(record) == "skipped " + visible(NASTY)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_encoding_gets_all_answers(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "ants 🐜").mkdir()
    code = """
        import sys
        from breedclf.cli import main
        sys.exit(main(["data", "check", sys.argv[1]]))
    """
    done = subprocess.run(
        [*RUN, textwrap.dedent(code), str(tmp_path / "ants 🐜" / "nowhere 🐶")],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 3, done.stderr
    assert b"Traceback" not in done.stderr
    told = "🐶" if encoding == "utf-8" else r"\U0001f436"
    assert told in done.stderr.decode(encoding)


def test_a_plain_c_locale_gets_all_answers() -> None:
    code = r"""
        import logging
        from breedclf.cli import _log_on_stderr
        from breedclf.cli.terminal import Terminal
        from breedclf.text.printable import any_encoding
        with any_encoding(), _log_on_stderr(quiet=False):
            Terminal().result(None, "ants \U0001f41c \udce9")
            logging.getLogger("breedclf").info("ants \U0001f41c \udce9")
        """
    done = python(code, LC_ALL="C", LANG="C")
    assert (done.returncode, done.stderr.splitlines()) == (0, [rb"ants \U0001f41c \xe9"])
    assert done.stdout.splitlines() == [rb"ants \U0001f41c \xe9"]


def test_a_reader_that_goes_away_is_no_error() -> None:
    for words in ("'--help'", "'cache', 'list'"):
        code = f"import sys; from breedclf.cli import main; sys.exit(main([{words}]))"
        with subprocess.Popen([*RUN, code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()  # before anything is written
            told = process.stderr.read()
            assert (process.wait(LIMIT_SECONDS), told) == (0, b"")


def test_on_a_terminal_a_job_s_lines_are_harmless_and_elsewhere_as_they_were() -> None:
    code = r"from breedclf.cli.terminal import Terminal; Terminal().line('10%\r20%\r100% \x1b[31mred')"
    piped = subprocess.run([*RUN, code], capture_output=True, timeout=LIMIT_SECONDS, check=True).stdout
    assert piped == b"10%\r20%\r100% \x1b[31mred\n"
    reader, writer = pty.openpty()
    try:
        subprocess.run([*RUN, code], stdout=writer, timeout=LIMIT_SECONDS, check=True)
        shown = os.read(reader, 1_000)
    finally:
        os.close(writer)
        os.close(reader)
    assert shown == b"100% \\x1b[31mred\r\n"


def test_help_needs_no_docstrings() -> None:
    code = """
        import contextlib, io, sys
        from breedclf.cli import COMMANDS, main
        assert __doc__ is None and main.__doc__ is None
        for words in [[], *([verb] for verb in COMMANDS)]:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                try:
                    code = main([*words, "--help"])
                except SystemExit as left:
                    code = left.code
            print(*words, code, out.getvalue().startswith("usage: "))
    """
    done = subprocess.run(
        [sys.executable, "-OO", "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["0 True", *(f"{verb} 0 True" for verb in COMMANDS)]


@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_an_answer_names_a_class_at_least(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["predict", "model", "a.jpg", "--top", count])
    assert left.value.code == 2
    assert "--top" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--verify", "--repeats", "2"], "repeats=2: a comparison needs at least 5"),
        (["--verify", "--also", "epochs=none"], "epochs='none'"),
        (["--verify", "--also", "compile"], "is not SETTING=VALUE"),
    ],
)
def test_what_verify_will_not_take_is_told_before_the_training(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dogs").mkdir()
    (tmp_path / "dogs" / "notes.txt").write_text("an empty folder would be refused before anything else")
    assert main(["profile", "dogs", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tune", "dogs", "--learning-rate", "0.1,0.2", "--report", "file/x.html"], "choose another --report"),
        (["tune", "dogs", "--learning-rate", "0.1,0.2", "--report", "dogs"], "'dogs' is a folder; name a file in it"),
        (["tune", "dogs", "--learning-rate", "0.1,0.2", "--output", "file/x"], "choose another --output"),
        (["train", "dogs", "--backend", "local", "--output", "file/x"], "choose another --output"),
    ],
)
def test_where_a_command_writes_is_tried_before_the_work(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    (tmp_path / "dogs").mkdir()
    (tmp_path / "file").touch()
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "home").exists(), "no job and no search began"


def test_the_library_behind_the_profiler_is_silent() -> None:
    code = """
        import torch
        from breedclf import ProfilingSession
        with ProfilingSession.record() as session:
            for _ in range(9):
                torch.ones(64, 64) @ torch.ones(64, 64)
                session.step(pictures=1)
        print(len(session.profile.operators) > 0)
        """
    quiet = python(code)
    assert (quiet.stdout.strip(), quiet.stderr) == (b"True", b"")
