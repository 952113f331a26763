"""The model card: metadata that Hugging Face's own library accepts, and text that no class name can break."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard as HubCard
from hypothesis import given, settings, strategies as st
from markdown_it import MarkdownIt

from breedclf import Evaluation, Trainer, TrainingConfig, evaluate, model_card
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ConfigError
from breedclf.evaluation.result import wilson_interval
from breedclf.inference.model_directory import ModelCard, read_card
from breedclf.inference.readme.measured import Measured
from breedclf.inference.readme.text import readme_text
from breedclf.models.backbones.record import BackboneRecord
from breedclf.text.markdown import markdown_text
from breedclf.text.printable import visible_name
from tests.integration.conftest import RESNET, write_patterns

HOSTILE = (
    "---",
    "- item",
    "# heading",
    "1. one",
    "a | b",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "`code` ``` *bold* __under__ ~~gone~~ $x$",
    "&lt; &amp;",
    "new\nline\n---\nlicense: mit",
    "back\\slash\\",
    "caf\udce9 \x1b[2J \u202egnirts",
    "https://example.org www.example.org me@example.org",
    "名前 🐕",
    "!!python/object:os.system {a: b} 'q' \"q\" %",
)


def card(**fields: Any) -> ModelCard:
    names = fields.pop("class_names", ("Cat", "Dog"))
    values: dict[str, Any] = {
        "architecture": "resnet18",
        "labels": tuple(f"{number:03}" for number in range(len(names))),
        "class_names": names,
        "preprocessing": Preprocessing(),
        "weights_sha256": "0" * 64,
        "metrics": {"valid_accuracy": 0.94, "valid_loss": 0.2},
        "training": {"data": "/mnt/secret/dogImages", "epochs": 3, "counts": {"train": 100, "valid": 50}},
        **fields,
    }
    return ModelCard(**values)


def weights(terms: str | None, source: str | None = None, name: str = "IMAGENET1K_V1") -> BackboneRecord:
    return BackboneRecord(library="timm", library_version="1.0", weights=name, license=terms, source=source)


def results_of(text: str) -> list[EvalResult]:
    found = HubCard(text).data.eval_results
    assert found is not None
    return list(found)


def parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def shown(text: str) -> list[str]:
    """The text that a reader sees, a string per paragraph, cell, item or heading."""
    tokens = parser().parse(text.split("\n---\n", 1)[1])
    inline = [token for token in tokens if token.type == "inline"]
    assert not [token for token in tokens if token.type in ("html_block", "hr", "lheading_open", "ordered_list_open")]
    kinds = {child.type for token in inline for child in token.children or ()}
    assert kinds <= {"text", "text_special", "code_inline", "softbreak", "link_open", "link_close"}, kinds
    return ["".join(child.content for child in token.children or ()) for token in inline]


def test_hugging_face_reads_the_results_with_their_interval() -> None:
    tested = Measured("test", "dogImages", accuracy=0.9, loss=0.3, count=200)
    text = readme_text(card(), tested)
    valid, test = results_of(text)
    assert (valid.task_type, valid.dataset_name, valid.dataset_split) == (
        "image-classification",
        "dogImages",
        "validation",
    )
    assert (valid.metric_type, valid.metric_value, test.dataset_split, test.metric_value) == (
        "accuracy",
        0.94,
        "test",
        0.9,
    )
    low, high = (round(bound, 4) for bound in wilson_interval(180, 200))
    assert test.metric_args == {"confidence_level": 0.95, "interval": [low, high], "images": 200}
    assert test.metric_name == f"Accuracy (95% interval {low} to {high}, 200 images)"
    data = HubCard(text).data
    assert (data.library_name, data.pipeline_tag) == ("breedclf", "image-classification")
    assert HubCard(str(HubCard(text))).data.to_dict() == data.to_dict(), "its own writer keeps everything"
    assert "secret" not in text
    assert "| dogImages | test | 200 | 90% | 85.1% to 93.4% | 0.3 |" in text


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (weights("Apache-2.0", "https://huggingface.co/timm/resnet50.a1_in1k"), {"license": "apache-2.0"}),
        (weights("BSD-3-Clause (torchvision's code)", "https://x.org/w.pth"), {"license": "bsd-3-clause"}),
        (weights("CC-BY-NC-4.0"), {"license": "cc-by-nc-4.0"}),
        (
            weights("dinov3-license", "https://huggingface.co/timm/vit"),
            {
                "license": "other",
                "license_name": "dinov3-license",
                "license_link": "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
            },
        ),
        (weights("not stated"), {}),
        (weights(None, name="mine.pth"), {}),
        (None, {}),
    ],
    ids=["permissive", "torchvision", "non-commercial", "other", "not-stated", "file", "older-model"],
)
def test_the_license_is_that_of_the_weights(record: BackboneRecord | None, expected: dict[str, str]) -> None:
    text = readme_text(card(backbone=record))
    data = HubCard(text).data
    assert {name: value for name, value in data.to_dict().items() if name.startswith("license")} == expected
    on_hub = record is not None and record.source is not None and record.source.startswith("https://huggingface.co/")
    assert data.base_model == (record.source.removeprefix("https://huggingface.co/") if on_hub else None)
    assert ("This license restricts" in text) == (expected.get("license") in ("other", "cc-by-nc-4.0"))
    assert ("| license | not known |" in text) == (expected == {})


@pytest.mark.parametrize("name", HOSTILE, ids=[f"name-{number}" for number in range(len(HOSTILE))])
def test_no_name_of_a_class_or_dataset_breaks_it(name: str) -> None:
    tested = Measured("test", visible_name(name), 0.5, 1.0, 2, confused=((name, "Dog", 1),))
    text = readme_text(card(class_names=(name, "Dog")), tested)
    assert HubCard(text).data.license is None
    assert results_of(text)[-1].dataset_name == visible_name(name)
    text.encode()
    seen = " ".join(" ".join(visible_name(name).split()).split())
    pieces = [" ".join(each.split()) for each in shown(text)]
    assert f"Image classifier: {seen}, Dog" in pieces
    assert f"{seen}, Dog." in pieces
    assert f"Most confused: {seen} predicted as Dog (1)." in pieces


@settings(max_examples=60)
@given(st.text(min_size=1, max_size=30))
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    expected = " ".join(visible_name(text).strip().split(" ")).strip()
    tokens = parser().parse(f"- {markdown_text(text)}")
    inline = [child for token in tokens if token.type == "inline" for child in token.children or ()]
    assert "".join(child.content for child in inline) == expected
    assert {token.type for token in tokens} <= {
        "bullet_list_open", "list_item_open", "paragraph_open", "inline",
        "paragraph_close", "list_item_close", "bullet_list_close",
    }  # fmt: skip


@settings(max_examples=60)
@given(st.text(max_size=30))
def test_yaml_reads_back_any_name(name: str) -> None:
    tested = Measured("test", visible_name(name), accuracy=0.5)
    matter = readme_text(card(), tested).split("\n---\n")[0]
    results = yaml.safe_load(matter.removeprefix("---\n"))["model-index"][0]["results"]
    assert results[-1]["dataset"]["name"] == visible_name(name)


def test_an_old_card_has_less_to_say() -> None:
    text = readme_text(card(training={}, metrics={}, data_fingerprint=""))
    assert "model-index" not in text
    assert "Not measured." in text
    assert "The settings aren't known." in text
    assert not HubCard(text).data.eval_results


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """The output folder of a training run, and the evaluation that is beside its model."""
    folder = tmp_path_factory.mktemp("run")
    images = write_patterns(folder / "patterns", counts={"train": 6, "valid": 3, "test": 4})
    quick: dict[str, Any] = {**RESNET, "epochs": 1}
    result = Trainer(TrainingConfig(data=images, output=folder / "run", **quick)).fit()
    before = (result.artifact / "README.md").read_bytes()
    found = evaluate(result.artifact, images, explain=False)
    assert (result.artifact / "README.md").read_bytes() == before
    return folder / "run", found


def test_training_writes_it_and_an_evaluation_of_the_same_weights_adds_the_test_accuracy(
    run: tuple[Path, Evaluation],
) -> None:
    output, found = run
    written = (output / "model/README.md").read_text(encoding="utf-8")
    assert written == readme_text(read_card(output / "model"))
    assert [result.dataset_split for result in results_of(written)] == ["validation"]
    assert "| train images | 12 |" in written
    assert "| validation images | 6 |" in written
    text = model_card(output)
    assert [result.dataset_split for result in results_of(text)] == ["validation", "test"]
    assert results_of(text)[1].metric_value == round(found.accuracy, 4)
    assert results_of(text)[1].dataset_name == "patterns"
    assert text == model_card(output / "model", found) == model_card(output, output / "evaluation-test/metrics.json")


def test_an_evaluation_of_other_weights_is_not_taken(run: tuple[Path, Evaluation], tmp_path: Path) -> None:
    output = Path(shutil.copytree(run[0], tmp_path / "run"))
    file = output / "model/breedclf.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "weights_sha256": "1" * 64}))
    assert len(results_of(model_card(output))) == 1
    with pytest.raises(ConfigError, match=r"is of other weights \(SHA-256 [0-9a-f]{12}, not 1{12}\): evaluate the"):
        model_card(output, output / "evaluation-test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_sha256": None}, "is from an older version of breedclf, which doesn't say of which model"),
        ({"labels": ["x", "y"]}, "is of a model with other classes"),
        ({"count": "many"}, r"metrics\.json can't be read: it isn't of an evaluation; evaluate the model again"),
    ],
    ids=["older", "other-classes", "not-an-evaluation"],
)
def test_other_evaluations_are_refused(
    run: tuple[Path, Evaluation], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    document = json.loads((run[0] / "evaluation-test/metrics.json").read_text())
    (tmp_path / "metrics.json").write_text(json.dumps({**document, **changes}))
    with pytest.raises(ConfigError, match=message):
        model_card(run[0], tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"there is no .*metrics\.json: `breedclf evaluate MODEL DATA` writes one"),
        ("{", r"metrics\.json can't be read: .*; evaluate the model again"),
        ("[]", r"metrics\.json can't be read: it isn't of an evaluation"),
    ],
    ids=["missing", "no-json", "a-list"],
)
def test_evaluations_that_can_not_be_read(
    run: tuple[Path, Evaluation], tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        model_card(run[0], tmp_path)
