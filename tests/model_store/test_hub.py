"""Models are published on Hugging Face by its own client, here to a local server that plays its part."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import breedclf
from breedclf import ArtifactError, Classifier, ConfigError, ModelStore, PublishError, push_to_hub
from breedclf.cli import main
from tests.serving.conftest import draw, write_tiny_model

constants = pytest.importorskip("huggingface_hub.constants")

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the client's own upload

from tests.hub_uploads import TOKEN, UploadHub, running_upload_hub  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    """What variables such as HF_ENDPOINT set at the start of a process is set here within one."""
    with running_upload_hub() as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


def test_what_was_pushed_predicts_the_same(hub: UploadHub, model: Path, tmp_path: Path) -> None:
    assert push_to_hub(model, "me/dogs", token=TOKEN) == f"{hub.url}/me/dogs"
    there = hub.repositories["me/dogs"]
    assert there.private
    assert sorted(there.files) == ["README.md", "breedclf.json", "model.safetensors"]
    assert b"hf download me/dogs --local-dir model" in there.files["README.md"]
    for name, content in there.files.items():
        (tmp_path / name).write_bytes(content)
    assert Classifier(tmp_path).predict(draw(3)) == Classifier(model).predict(draw(3))


def test_a_second_time_only_what_changed_is_uploaded(hub: UploadHub, model: Path) -> None:
    push_to_hub(model, "me/dogs", token=TOKEN, private=False)
    before = len(hub.uploads)
    push_to_hub(model, "me/dogs", token=TOKEN, readme="---\nlicense: mit\n---\n# Mine\n", message="My words")
    there = hub.repositories["me/dogs"]
    assert len(hub.uploads) == before == 1
    assert not there.private, "an existing repository stays as visible as it is"
    assert there.commits[-1] == "My words"
    assert there.files["README.md"].endswith(b"# Mine\n")


def test_the_token_may_come_from_the_environment(hub: UploadHub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    push_to_hub(model, "me/dogs")
    assert "me/dogs" in hub.repositories


@pytest.mark.parametrize(
    ("repository", "token", "error", "message"),
    [
        (
            "me/dogs",
            None,
            ConfigError,
            r"there is no token for Hugging Face: log in with `hf auth login`, set HF_TOKEN",
        ),
        ("me/dogs", "hf_wrong", PublishError, r"refuses 'me/dogs' \(401\): Invalid credentials .*; .* log in with"),
        ("you/dogs", TOKEN, PublishError, r"refuses 'you/dogs' \(403\): You don't have the rights .* may not write"),
        ("dogs", TOKEN, ConfigError, r"'dogs' has no owner: give it as user/dogs"),
        ("me/my dogs", TOKEN, ConfigError, r"'me/my dogs' isn't a name on Hugging Face: Repo id must"),
        ("me/a/b", TOKEN, ConfigError, r"'me/a/b' isn't a name on Hugging Face"),
    ],
    ids=["no-token", "wrong-token", "of-others", "no-owner", "space", "too-many-parts"],
)
def test_refusals_say_what_to_do(
    hub: UploadHub, model: Path, repository: str, token: str | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        push_to_hub(model, repository, token=token)
    assert hub.repositories == {}


def test_a_refused_commit_leaves_the_repository_as_it_was(hub: UploadHub, model: Path) -> None:
    push_to_hub(model, "me/dogs", token=TOKEN)
    before = dict(hub.repositories["me/dogs"].files)
    hub.refuse = 402
    with pytest.raises(PublishError, match=r"refuses 'me/dogs' \(402\): no room in this plan"):
        push_to_hub(model, "me/dogs", token=TOKEN, readme="---\nlicense: mit\n---\n# Other\n")
    assert hub.repositories["me/dogs"].files == before


def test_unreachable_and_offline(hub: UploadHub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(PublishError, match=r"'me/dogs' can't be uploaded to http://127\.0\.0\.1:9: .*refused"):
            push_to_hub(model, "me/dogs", token=TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PublishError, match="HF_HUB_OFFLINE is set; unset it"):
        push_to_hub(model, "me/dogs", token=TOKEN)
    assert hub.repositories == {}


def test_a_damaged_model_is_not_uploaded(hub: UploadHub, model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"\xff" * 8)
    with pytest.raises(
        ArtifactError, match=r"model\.safetensors isn.t the file that breedclf\.json names: it is damaged"
    ):
        push_to_hub(copy, "me/dogs", token=TOKEN)
    assert hub.repositories == {}


def test_without_the_package_it_says_what_to_install(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(breedclf.MissingExtraError, match=r'pip install "breedclf\[hub\]"'):
        push_to_hub(model, "me/dogs", token=TOKEN)


def test_from_the_command_line_in_a_process_of_its_own(hub: UploadHub, model: Path, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "runs/models")
    store.add(model, name="dogs")
    store.promote("dogs", 1)
    variables = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN}
    done = subprocess.run(
        [sys.executable, "-m", "breedclf", "models", "push", "dogs", "me/dogs", "--public", "--json"],
        env={**os.environ, **variables, "HF_HOME": str(tmp_path / "hf")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"repository": "me/dogs", "url": f"{hub.url}/me/dogs"}
    assert not hub.repositories["me/dogs"].private
    assert "model.safetensors" in hub.repositories["me/dogs"].files


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["me/dogs"], "models push got 'me/dogs'; the usage is breedclf models push [-h] NAME [VERSION] REPOSITORY"),
        (["dogs", "1", "more", "me/dogs"], "models push got 'dogs 1 more me/dogs'; the usage is"),
        (["cats", "me/dogs"], "has no model 'cats'; there are: dogs"),
        (["dogs", "me/dogs"], "model 'dogs' has no version 'live'; there are: 1"),
        (["dogs", "1", "me/dogs", "--evaluation", "nowhere"], "there is no nowhere: `breedclf evaluate MODEL DATA`"),
    ],
    ids=["too-few", "too-many", "unknown", "not-live", "no-evaluation"],
)
def test_wrong_words(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    ModelStore(tmp_path / "store").add(model, name="dogs")
    assert main(["models", "push", *words, "--store", str(tmp_path / "store")]) == 2
    assert message in capsys.readouterr().err
