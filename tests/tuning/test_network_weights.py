"""Searches over several networks: their weights, their names in flags and jobs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from breedclf import Categorical, TrainingConfig, TuningJob
from breedclf.api.search_setup import check_networks, search_request
from breedclf.api.tuning_drivers import search_spec
from breedclf.errors import ConfigError, WeightsError
from breedclf.run import JobEnvironment
from breedclf.tuning.flag_values import network_weights, parse_parameter
from breedclf.tuning.native import typed_values, value_texts
from breedclf.tuning.packed import packed_pairs, study_from_pairs
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.study import Study
from breedclf.tuning.trials import Trial

VIT = "timm:vit_tiny_patch16_224"
SPACE = {"architecture": Categorical("resnet18", VIT, "convnext_tiny"), "epochs": Categorical(1, 2)}


def requested(data: Path, space=None, each=None, **settings) -> SearchRequest:
    return search_request(
        config=TrainingConfig(data=data, **settings), space=space or SPACE, weights=each, name="study"
    )


def weights_of_trials(request: SearchRequest) -> dict[str, str]:
    names = request.space["architecture"].values
    configs = [request.config_of(Trial(name=name, index=0, hyperparameters={"architecture": name})) for name in names]
    return {config.architecture: config.weights for config in configs}


def file(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"")
    return path


def test_each_network_has_its_own_weights(data, tmp_path) -> None:
    own = file(tmp_path, "vit.pth")
    assert weights_of_trials(requested(data)) == {
        "resnet18": "IMAGENET1K_V1",
        VIT: "pretrained",
        "convnext_tiny": "IMAGENET1K_V1",
    }
    assert set(weights_of_trials(requested(data, weights="none")).values()) == {"none"}
    some = requested(data, each={VIT.upper(): own, "resnet18": "imagenet1k_v1"})
    assert weights_of_trials(some) == {"resnet18": "IMAGENET1K_V1", VIT: str(own), "convnext_tiny": "IMAGENET1K_V1"}


def test_weights_survive_the_file_of_the_search(data, tmp_path) -> None:
    request = requested(data, each={VIT: file(tmp_path, "vit.pth")})
    study = Study(request=request, key="0123abcd", created=0.0)
    again = Study(**json.loads(json.dumps(study.model_dump(mode="json"))))
    assert weights_of_trials(again.request) == weights_of_trials(request)


def test_names_are_read_in_any_spelling_but_once(data) -> None:
    request = requested(data, {"architecture": Categorical("ResNet18", VIT)})
    assert request.space["architecture"] == Categorical("resnet18", VIT)
    with pytest.raises(ConfigError, match="'resnet18' is listed more than once"):
        requested(data, {"architecture": Categorical("ResNet18", "resnet18")})


@pytest.mark.parametrize(
    ("space", "settings", "weights", "words"),
    [
        (SPACE, {"weights": "net.pth"}, {}, r"a file, which fits one network.*--weights resnet18=FILE"),
        (SPACE, {}, {"resnet34": "none"}, "weights are given for resnet34, which isn't in the space"),
        (SPACE, {}, {"resnet43": "none"}, "architecture='resnet43' is no classifier"),
        ({"epochs": Categorical(1, 2)}, {}, {"resnet34": "none"}, "its architectures are none"),
        (SPACE | {"weights": Categorical("none", "IMAGENET1K_V1")}, {}, {VIT: "none"}, "remove one of the two"),
        (
            {"architecture": Categorical("resnet18", "resnet81")},
            {},
            {},
            "'resnet81' is no classifier of torchvision: the nearest names",
        ),
    ],
)
def test_refuses_weights_that_fit_no_network_or_several(data, space, settings, weights, words) -> None:
    with pytest.raises(ConfigError, match=words):
        requested(data, space, weights, **settings)


def test_a_file_is_enough_for_one_network(data, tmp_path) -> None:
    own = file(tmp_path, "net.pth")
    one = {"architecture": Categorical("resnet18"), "epochs": Categorical(1, 2)}
    assert weights_of_trials(
        requested(
            data,
            one,
        )
    ) == {"resnet18": "IMAGENET1K_V1"}
    fixed = requested(data, {"epochs": Categorical(1, 2)}, {"resnet18": own}, architecture="resnet18")
    assert (fixed.config.weights, fixed.weights) == (str(own), {})


def test_a_job_that_runs_trials_finds_the_weights_of_each(data, tmp_path) -> None:
    files = {name: file(tmp_path, f"{number}.pth") for number, name in enumerate(("resnet18", VIT))}
    request = requested(data, each=files)
    spec = search_spec(request, "study")
    assert spec.hyperparameters["architecture"] == VIT, "so that its requirements are known"
    assert "weights" not in spec.hyperparameters
    assert {name: path for name, path in spec.channels.items() if name != "training"} == {
        "weights_1": files["resnet18"],
        "weights_2": files[VIT],
    }

    def config_in_job(**pairs: str) -> TrainingConfig:
        return environment(spec.hyperparameters | pairs).training_config()

    def environment(pairs: dict[str, str]) -> JobEnvironment:
        channels = {f"SM_CHANNEL_{name.upper()}": str(path) for name, path in spec.channels.items()}
        folders = {name: str(tmp_path) for name in ("SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR")}
        return JobEnvironment.read({"SM_HPS": json.dumps(pairs), **channels, **folders})

    assert config_in_job(architecture='"resnet18"').weights == str(files["resnet18"])
    assert config_in_job(architecture=VIT).weights == str(files[VIT])
    assert config_in_job(architecture="convnext_tiny").weights == "IMAGENET1K_V1"

    study = Study(request=request, key="0123abcd", created=0.0)
    job = environment(spec.hyperparameters | packed_pairs(study))
    inside = study_from_pairs(job.hyperparameters, job.training_config(), job.weights)
    assert weights_of_trials(inside.request) == weights_of_trials(request)


def test_a_name_with_a_colon_is_one_value_everywhere() -> None:
    assert parse_parameter("architecture", f"resnet18,{VIT}") == Categorical("resnet18", VIT)
    assert parse_parameter("architecture", VIT) is None
    assert parse_parameter("freeze", "head,last_stage") == Categorical("head", "last_stage")
    config = TrainingConfig(data="dogs", weights="none")
    texts = value_texts(config, "architecture", ("resnet18", VIT))
    assert texts == ["resnet18", VIT]
    space = {"architecture": Categorical("resnet18", VIT)}
    for text in (VIT, f'"{VIT}"'):
        assert typed_values({"architecture": text}, space) == {"architecture": VIT}


def test_weights_of_a_network_are_told_from_a_path(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert network_weights(f"{VIT}=a=b.pth") == (VIT, "a=b.pth")
    assert network_weights("IMAGENET1K_V2") == (None, "IMAGENET1K_V2")
    assert network_weights("runs/lr=0.1/net.pth") == (None, "runs/lr=0.1/net.pth")
    assert network_weights(file(tmp_path, "resnet18=mine.pth").name) == (None, "resnet18=mine.pth")
    with pytest.raises(ConfigError, match=r"weights='resnet81=net.pth': architecture='resnet81' is no classifier"):
        network_weights("resnet81=net.pth")
    with pytest.raises(ConfigError, match="give a file after the =, as in resnet18=FILE"):
        network_weights("resnet18=")


def test_what_doesn_t_exist_is_told_before_anything_starts(data, tmp_path) -> None:
    def started(**space: Categorical) -> None:
        TuningJob(TrainingConfig(data=data), space, strategy="grid", home=tmp_path).run()

    with pytest.raises(ConfigError, match="timm:vit_tyny: timm .* has no such network; the nearest names are"):
        started(architecture=Categorical("resnet18", "timm:vit_tyny"))
    with pytest.raises(WeightsError, match="no IMAGENET1K_V2 weights of resnet18"):
        started(architecture=Categorical("resnet18", "resnet50"), weights=Categorical("none", "IMAGENET1K_V2"))
    with pytest.raises(ConfigError, match="freeze=layer4: convnext_tiny has no such stage"):
        started(architecture=Categorical("resnet18", "convnext_tiny"), freeze=Categorical("head", "layer4"))
    gone = {"resnet18": tmp_path / "gone.pth"}
    with pytest.raises(WeightsError, match=r"gone.pth' is neither"):
        TuningJob(
            TrainingConfig(data=data), {"architecture": Categorical("resnet18")}, weights=gone, home=tmp_path
        ).run()
    assert not list(tmp_path.rglob("study.json"))


def test_a_license_that_binds_is_accepted_before_anything_starts(data, tmp_path) -> None:
    space = {"architecture": Categorical("resnet18", "vit_b_16")}
    weights = {"vit_b_16": "IMAGENET1K_SWAG_LINEAR_V1"}
    tuning = TuningJob(TrainingConfig(data=data), space, weights=weights, strategy="grid", home=tmp_path)
    with pytest.raises(WeightsError, match="CC-BY-NC-4.0, which binds"):
        tuning.run()
    assert not list(tmp_path.rglob("study.json"))
    check_networks(requested(data, space, weights, accept_license=True))
