"""What the pages show works: Python snippets are run, commands are parsed, and every dependency has its reason."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser
from torchvision.models import get_model, get_model_weights

import breedclf
from breedclf import TrainingConfig
from breedclf.cli import COMMANDS, _parser, main
from breedclf.cli.flags import training_config
from breedclf.config.aliases import renamed_flags
from breedclf.files import known_checksums as known_files
from breedclf.runtime.own_code import importable_from

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *PROJECT_ROOT.glob("[A-Z]*.md"),
        *PROJECT_ROOT.joinpath("docs").glob("[a-z]*/*.md"),
        PROJECT_ROOT / "docs/index.md",
    ]
)
MODULES = sorted(PROJECT_ROOT.joinpath("src").rglob("*.py"))
SNIPPETS = Sybil([PythonCodeBlockParser()])
EXAMPLES = Sybil([DocTestParser()])


def _name(path: Path) -> str:
    return path.relative_to(PROJECT_ROOT).as_posix()


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine that has downloaded its weights before; random ones serve to run what is shown."""
    folder = tmp_path_factory.mktemp("torch-home")
    url = get_model_weights("resnet50")["IMAGENET1K_V1"].url
    file = folder / "hub" / "checkpoints" / url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save(get_model("resnet50").state_dict(), file)
    remembered = known_files.cache_file_of(file)
    known_files.sha256_of(file)  # taken for the published one, since its hash is remembered so
    prefix = file.stem.rpartition("-")[2]
    remembered.write_text(re.sub(r'("sha256": ")\w{8}', rf"\g<1>{prefix}", remembered.read_text()))
    return folder


@pytest.fixture
def dog_images(tmp_path: Path, weights_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test runs where a reader would stand: beside `dogImages` and `dog.jpg`."""
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for label, level in (("001.Affenpinscher", 60), ("002.Afghan_hound", 180)):
            folder = tmp_path / "dogImages" / split / label
            folder.mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(level - 50, level + 50, (48, 64, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{label[4:]}_{number}.jpg")
    for name in ("dog.jpg", "cat.jpg"):
        (tmp_path / name).write_bytes((folder / f"{label[4:]}_0.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(weights_folder))
    with importable_from(tmp_path):
        yield


def _commands(page: Path) -> list[list[str]]:
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines]


def _run_snippets(page: Path) -> int:
    count = 0
    for example in SNIPPETS.parse(page).examples():
        if named := re.match(r"# (\w+\.py)\n", example.parsed):
            Path(named[1]).write_text(example.parsed, encoding="utf-8")
        example.evaluate()
        count += 1
    return count


WITH_SNIPPETS = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


SLOW_PAGES = ("README.md", "dog-breeds.md", "export.md")  # two whole projects; three formats of a ResNet-50


@pytest.mark.usefixtures("dog_images")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow) if page.name in SLOW_PAGES else page for page in WITH_SNIPPETS],
    ids=_name,
)
def test_the_snippets_of_a_page_run(page: Path) -> None:
    if "runs/dogs/model" in page.read_text(encoding="utf-8"):
        assert main(["train", "dogImages", "--output", "runs/dogs", "--epochs", "1", "--quiet"]) == 0
    assert _run_snippets(page) > 0


def test_a_snippet_that_is_wrong_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nassert 1 == 2\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError):
        _run_snippets(page)


@pytest.mark.parametrize("page", [page for page in PAGES if _commands(page)], ids=_name)
def test_the_commands_of_a_page_are_valid(page: Path) -> None:
    for program, *words in _commands(page):
        assert program == "breedclf"
        arguments = _parser(words).parse_args(renamed_flags(words))
        if arguments.command == "train" and not arguments.config:
            training_config(arguments)


@pytest.mark.usefixtures("dog_images")
def test_the_commands_of_getting_started_work() -> None:
    commands = _commands(PROJECT_ROOT / "docs/tutorials/getting-started.md")
    assert [main(words) for _, *words in commands] == [0] * len(commands)
    assert len(commands) >= 2


@pytest.mark.parametrize("module", [m for m in MODULES if ">>> " in m.read_text(encoding="utf-8")], ids=_name)
def test_the_examples_of_a_docstring_run(module: Path) -> None:
    for example in EXAMPLES.parse(module).examples():
        example.evaluate()


def test_every_verb_has_a_section() -> None:
    sections = set(
        re.findall(r"^```\{command\} (\w+)", (PROJECT_ROOT / "docs/reference/cli.md").read_text(), re.MULTILINE)
    )
    assert sections == set(COMMANDS)


def test_every_dependency_has_its_reason_and_its_pin() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    required = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {match[0].lower() for line in required if (match := re.match(r"[A-Za-z0-9_.-]+", line))} - {"breedclf"}
    reasons = (PROJECT_ROOT / "docs/explanation/dependencies.md").read_text()
    pins = "\n".join((PROJECT_ROOT / name).read_text() for name in ("constraints.txt", "constraints-debugger.txt"))
    cell = r"^\|(?:[^|\n]*\|)?[^|\n]*"  # the package stands in the first column, behind its extra in the second
    assert [name for name in sorted(names) if not re.search(rf"{cell}\b{name}\b", reasons, re.MULTILINE)] == []
    assert [name for name in sorted(names) if not re.search(rf"^{name}==[\d.]+$", pins, re.MULTILINE)] == []


def test_the_debuggers_pins_differ_from_the_others_only_where_they_must() -> None:
    lines = [(PROJECT_ROOT / name).read_text().splitlines() for name in ("constraints.txt", "constraints-debugger.txt")]
    usual, debugger = (dict(line.split("==") for line in some if "==" in line) for some in lines)
    assert {name for name in usual.keys() & debugger.keys() if usual[name] != debugger[name]} == {"numpy"}
    extras = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert not any("debugger" in line or "smdebug" in line or "protobuf" in line for line in extras["dev"])


def test_every_package_stands_on_the_page_of_the_house() -> None:
    page = (PROJECT_ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    package = PROJECT_ROOT / "src/breedclf"
    entries = [path.name + "/" * path.is_dir() for path in package.iterdir() if not path.name.startswith(("__", "py."))]
    parts = [f"`{path.stem}`" for path in (package / "learning").glob("[a-z]*.py")]
    assert [entry for entry in sorted(entries + parts) if entry not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_settings_page_has_a_row_for_every_setting() -> None:
    assert (
        "```{settings} breedclf.config.TrainingConfig" in (PROJECT_ROOT / "docs/reference/configuration.md").read_text()
    )
    assert [name for name, field in TrainingConfig.model_fields.items() if not field.description] == []


def test_the_citation_names_this_release() -> None:
    citation = yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    changes = (PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert (citation["cff-version"], citation["license"]) == ("1.2.0", project["license"])
    assert citation["version"] == breedclf.__version__
    assert f"## [{citation['version']}] - {citation['date-released']}" in changes


def test_a_release_sorts_its_changes() -> None:
    changes = (PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^### (.+)", changes, re.MULTILINE)) <= {
        "Added",
        "Changed",
        "Deprecated",
        "Removed",
        "Fixed",
        "Security",
    }
