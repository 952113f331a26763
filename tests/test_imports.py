"""Importing the package and asking for help stay quick, and load no heavy library."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import breedclf

HEAVY = ("torch", "torchvision", "numpy", "PIL", "boto3", "botocore", "sagemaker", "pydantic")
MOST_TRIES = 8


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _seconds_of_import() -> float:
    return float(_python("from time import perf_counter as now; t = now(); import breedclf; print(now() - t)"))


def _seconds_of_help() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "breedclf", "--help"], check=True, capture_output=True, timeout=60)
    return time.perf_counter() - started


@pytest.mark.parametrize(
    ("measure", "most_seconds"), [(_seconds_of_import, 0.1), (_seconds_of_help, 0.5)], ids=["import", "help"]
)
def test_start_is_quick(measure: object, most_seconds: float) -> None:
    """The best of several tries: what else the machine does is no fault of ours."""
    assert callable(measure)
    tries: list[float] = []
    while len(tries) < MOST_TRIES and min(tries, default=most_seconds) >= most_seconds:
        tries.append(measure())
    assert min(tries) < most_seconds, tries


def test_import_loads_no_heavy_library() -> None:
    loaded = _python(f"import sys, breedclf; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded == "[]"


@pytest.mark.parametrize("module", ["config", "cli", "api.trainer"])
def test_the_client_side_loads_neither_torch_nor_boto3(module: str) -> None:
    heavy = ("torch", "torchvision", "boto3", "sagemaker")
    loaded = _python(f"import sys, breedclf.{module}; print([name for name in {heavy} if name in sys.modules])")
    assert loaded == "[]"


def test_predicting_does_without_torchs_compiler() -> None:
    """It takes as long to load as the rest of torch and torchvision together."""
    told = _python(
        "import sys, torch; "
        "from breedclf.models.network import folded, network_from, new_network; "
        "network = network_from('resnet18', new_network('resnet18', seed=0, classes=2).state_dict()); "
        "folded(network)(torch.zeros(1, 3, 64, 64)); "
        "print([name for name in sys.modules if name.startswith('torch._dynamo')])"
    )
    assert told == "[]"


def test_whoever_needs_the_compiler_gets_it() -> None:
    """Also through torchvision's operator that asks for it, and where it was there before."""
    code = (
        "import sys, torch; {first}from breedclf.runtime import vision; from torchvision.ops import roi_align; "
        "print(tuple(roi_align(torch.rand(1, 3, 8, 8), torch.tensor([[0, 0, 0, 4.0, 4.0]]), 2).shape), end=' '); "
        "import torch._dynamo.utils as utils; print(type(utils).__name__, utils.is_compile_supported('cpu'), end=' '); "
        "print(sys.modules['torch._dynamo.utils'] is utils)"
    )
    plain, before = (_python(code.format(first=first)) for first in ("", "import torch._dynamo; "))
    assert plain == before == "(1, 3, 2, 2) module True True"


@pytest.mark.parametrize("name", breedclf.__all__)
def test_a_public_name_resolves(name: str) -> None:
    assert getattr(breedclf, name) is not None
    assert name in dir(breedclf)


def test_all_lists_what_is_loaded_lazily() -> None:
    assert set(breedclf.__all__) == set(breedclf._HOME_OF) | {"__version__"}
    assert list(breedclf.__all__) == sorted(breedclf.__all__)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'breedclf' has no attribute 'Trainr'"):
        _ = breedclf.Trainr


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(breedclf.__file__).parent / "py.typed").is_file()


def test_the_version_stands_in_the_changelog_or_is_unreleased(project_root: Path) -> None:
    headings = re.findall(r"^## \[(.+?)\]", (project_root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert len(headings) == 1 or breedclf.__version__ in headings
