"""Own code is found, imported and read as users have it: files, modules, packages, and everything that goes wrong."""

from __future__ import annotations

import functools
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from breedclf.config.import_path import ImportPath
from breedclf.errors import ConfigError
from breedclf.runtime.own_code import fingerprint, importable_from, load, locate
from breedclf.runtime.own_source import modules_to_send, path_of

FILES = {
    "mycode.py": "from helpers_of_mine import GAMMA\nNUMBER = 3\ndef focal(scores, targets): return GAMMA\n",
    "helpers_of_mine.py": "GAMMA = 2\n",
    "mypack/__init__.py": "",
    "mypack/losses.py": "import torch\nfrom . import parts\nfrom helpers_of_mine import GAMMA\nclass Focal: pass\n",
    "mypack/parts.py": "",
    "mypack/weights.json": "{}",
    "spaced/plain.py": "from dataclasses import dataclass\n@dataclass\nclass Made:\n    size: int = 1\n",
    "raises.py": "def helper():\n    raise ValueError('no data\\nat all')\nhelper()\n",
    "syntax.py": "def x(:\n",
    "needs.py": "import a_missing_module_of_mine\n",
    "leaves.py": "import sys\nsys.exit('bye')\n",
    "dynamic.py": "def __getattr__(name): return len\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules on `sys.path`."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    with importable_from(tmp_path):
        yield tmp_path


def parsed(text: str) -> ImportPath:
    return ImportPath.parse(text)


def test_a_module_a_submodule_and_a_file_are_found_and_imported(folder: Path) -> None:
    assert load(parsed("mycode:focal"), "loss")(1, 2) == 2
    assert load(parsed("mypack.losses:Focal"), "loss").__name__ == "Focal"
    assert load(parsed("spaced/plain.py:Made"), "loss")().size == 1
    assert locate(parsed("mypack.losses:Focal"), "loss").own == folder / "mypack"
    assert locate(parsed("torch.nn:NLLLoss"), "loss").own is None
    assert locate(parsed("math:fsum"), "metric x").own is None


def test_an_edited_file_is_read_again_and_has_another_fingerprint(folder: Path) -> None:
    path, file = parsed("spaced/plain.py:Made"), folder / "spaced/plain.py"
    before = fingerprint(path, "loss")
    assert load(path, "loss") is load(path, "loss")
    file.write_text(file.read_text().replace("= 1", "= 2"))
    assert load(path, "loss")().size == 2
    assert fingerprint(path, "loss") != before
    pack = fingerprint(parsed("mypack.losses:Focal"), "loss")
    (folder / "mypack/parts.py").write_text("X = 1\n")
    assert fingerprint(parsed("mypack.losses:Focal"), "loss") != pack, "its package decides, too"


def test_threads_get_a_file_only_when_it_is_complete(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.1)\ndef focal(): return 1\n")
    path = parsed(f"{tmp_path}/slow.py:focal")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _number: load(path, "loss"), range(4)))
    assert len({*found}) == 1


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("mycod:focal", "loss mycod:focal: there is no module 'mycod': did you mean 'mycode'?"),
        ("zzzz:focal", "there is no module 'zzzz': add its folder to PYTHONPATH, or give its file, as in code/zzzz.py"),
        ("mypack.loses:Focal", "mypack has no module 'loses': did you mean 'losses'?"),
        ("mycode.inner:focal", "mycode has no module 'inner'"),
        ("spaced/plane.py:Made", "there is no file spaced/plane.py: did you mean 'plain.py'?"),
        ("gone/plain.py:Made", "there is no file gone/plain.py"),
        ("mycode:focl", "mycode has no 'focl': did you mean 'focal'?"),
        ("mycode:NUMBER", "it is int 3, which can't be called"),
        ("__main__:focal", "__main__ is the running program; move the code to a module of its own"),
        ("raises:x", "importing raises failed with ValueError: no data (raises.py, line 2)"),
        ("syntax:x", "importing syntax failed with SyntaxError: invalid syntax (syntax.py, line 1)"),
        ("./syntax.py:x", "importing ./syntax.py failed with SyntaxError: invalid syntax (syntax.py, line 1)"),
        ("needs:x", "No module named 'a_missing_module_of_mine' (needs.py, line 1); install it, or put modules that"),
        ("leaves:x", "importing leaves failed with SystemExit: bye (leaves.py, line 2)"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_goes_wrong_is_named(path: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(parsed(path), "loss")
    assert words in str(caught.value)


def test_a_file_beside_the_program_is_pointed_out(folder: Path) -> None:
    sys.path.remove(str(folder))
    try:
        with pytest.raises(ConfigError, match=r"mycode.py is in the current folder, .* as in ./mycode.py:focal"):
            load(parsed("mycode:focal"), "loss")
    finally:
        sys.path.insert(0, str(folder))


def test_a_job_gets_what_the_code_imports_but_nothing_installed(folder: Path) -> None:
    sent = modules_to_send({"loss": parsed("mypack.losses:Focal"), "metric f1": parsed("spaced/plain.py:Made")})
    assert sent == {
        "mypack": folder / "mypack",
        "plain.py": folder / "spaced/plain.py",
        "helpers_of_mine.py": folder / "helpers_of_mine.py",
    }
    assert modules_to_send({"loss": parsed("torch.nn:NLLLoss"), "metric x": parsed("breedclf.errors:DataError")}) == {}
    assert "raises" not in sys.modules
    assert modules_to_send({"loss": parsed("raises:helper")}) == {"raises.py": folder / "raises.py"}
    assert "raises" not in sys.modules, "it is read, not run"
    assert list(modules_to_send({"loss": parsed("dynamic:anything")})) == ["dynamic.py"]


@pytest.mark.usefixtures("folder")
def test_what_a_job_could_not_import_is_refused_before_it_starts(folder: Path) -> None:
    with pytest.raises(ConfigError, match="mypack.losses has no 'Focl': did you mean 'Focal'"):
        modules_to_send({"loss": parsed("mypack.losses:Focl")})
    with pytest.raises(ConfigError, match=r"syntax.py can't be read as Python: SyntaxError: invalid syntax"):
        modules_to_send({"loss": parsed("syntax:x")})
    (folder / "other").mkdir()
    (folder / "other/mycode.py").write_text("def top2(p, t): return 1.0\n")
    with pytest.raises(ConfigError, match=r"a job can't have two modules named mycode.py, .*; rename one"):
        modules_to_send({"loss": parsed("mycode:focal"), "metric top2": parsed("other/mycode.py:top2")})


@pytest.mark.usefixtures("folder")
def test_a_function_without_a_path_is_refused_with_the_reason() -> None:
    def nested(*_arguments: object) -> float:
        return 1.0

    cell: dict[str, object] = {"__name__": "__main__"}
    exec(textwrap.dedent("def in_a_cell(p, t): return 1.0"), cell)
    for function, words in (
        (
            lambda *_arguments: 1.0,
            "metric x is a lambda, which a job can't import; define it as a function at the top level",
        ),
        (nested, "is defined inside test_a_function_without_a_path_is_refused_with_the_reason(), where a job can't"),
        (cell["in_a_cell"], "is defined in the running script or notebook, which a job can't import"),
        (functools.partial(max, 1), "is a partial, which a job can't import"),
    ):
        with pytest.raises(ConfigError) as caught:
            path_of(function, "metric x")  # type: ignore[arg-type]
        assert words in str(caught.value)
    assert str(path_of(load(parsed("mycode:focal"), "metric x"), "metric x")) == "mycode:focal"
    assert str(path_of(textwrap.dedent, "metric x")) == "textwrap:dedent"


def test_modules_of_a_job_are_unloaded_with_it(tmp_path: Path) -> None:
    (tmp_path / "only_in_this_job.py").write_text("def focal(s, t): return 1\n")
    path = list(sys.path)
    with importable_from(tmp_path):
        load(parsed("only_in_this_job:focal"), "loss")
    assert sys.path == path
    assert "only_in_this_job" not in sys.modules
