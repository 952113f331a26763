"""Every path that a user gives: `~` is the home folder, and an empty one is refused, in settings, flags and Python."""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError, create_model

import breedclf
from breedclf import cli
from breedclf.cli import COMMANDS
from breedclf.config import EvaluationConfig, TrainingConfig
from breedclf.config.base import Settings
from breedclf.demo import DemoConfig
from breedclf.errors import BreedclfError, ConfigError
from breedclf.files.cache_folder import CACHE_DIR_VARIABLE, cache_folder
from breedclf.files.paths import path_argument, path_or_uri_argument, user_path, user_uri

PIXELS = np.zeros((1, 8, 8, 3), np.uint8)
USER_SETTINGS = {TrainingConfig, EvaluationConfig, DemoConfig}
# What a setting calls a place although it is text: it may be something else than a path, too.
TEXT_PATHS = {(TrainingConfig, "weights"), (DemoConfig, "weights"), (TrainingConfig, "mlflow_uri")}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_tilde_is_the_home_folder_only_at_the_start_and_only_if_somebody_lives_there(home: Path) -> None:
    assert user_path("~/dogs", "data") == home / "dogs"
    assert user_path(Path("~"), "data") == home
    for name in ("~$draft.jpg", "~nobody-is-called-so/x", "dogs/~/x", "./~"):
        assert user_path(name, "data") == Path(name)


@pytest.mark.parametrize("text", ["", " ", "\t", "a\0b"])
def test_what_is_no_path_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(ConfigError, match="output.*(is empty: give a path|null byte)"):
        user_path(text, "output")


def test_an_address_is_none_of_the_file_system_s_business(home: Path) -> None:
    for address in (
        "http://127.0.0.1:5000",
        "arn:aws:sagemaker:eu-west-1:1:app/x",
        "sqlite:////var/x.db",
        "databricks",
    ):
        assert user_uri(address, "mlflow_uri") == address
    assert user_uri("sqlite:///~/runs.db", "mlflow_uri") == f"sqlite:///{home}/runs.db"
    assert user_uri("~/runs", "mlflow_uri") == f"{home}/runs"


def user_settings() -> Iterator[tuple[type[Settings], str]]:
    """Every field of the settings that users give, and of SageMaker's, whose type is a path."""
    settings = importlib.import_module("breedclf.backends.sagemaker.settings").SageMakerSettings
    for model in [*sorted(USER_SETTINGS, key=lambda each: each.__name__), settings]:
        for name, field in model.model_fields.items():
            if field.annotation is Path or Path in get_args(field.annotation) or "Path" in str(field.annotation):
                yield model, name
    yield from sorted(TEXT_PATHS, key=str)


@pytest.mark.parametrize(("model", "name"), list(user_settings()), ids=lambda each: getattr(each, "__name__", each))
def test_every_path_among_the_settings(model: type[Settings], name: str, home: Path) -> None:
    field = model.model_fields[name]
    alone = create_model("Alone", **{name: (field.rebuild_annotation(), ...)})  # type: ignore[call-overload]
    assert str(getattr(alone(**{name: "~/somewhere"}), name)) == str(home / "somewhere")
    if name == "mlflow_uri":  # nothing given is MLflow's own default
        return
    with pytest.raises(ValidationError, match=f"{name} is empty: give a path"):
        alone(**{name: ""})


def test_every_setting_that_is_a_path_was_found() -> None:
    found = {(model.__name__, name) for model, name in user_settings()}
    assert {("TrainingConfig", name) for name in ("data", "output", "cache_dir", "weights")} < found
    assert {("EvaluationConfig", "output"), ("DemoConfig", "data"), ("SageMakerSettings", "wheels")} < found


def test_a_settings_file_and_the_environment_mean_the_home_folder_too(home: Path) -> None:
    Path("settings.yaml").write_text("data: ~/dogs\noutput: ~/runs\n", encoding="utf-8")
    read = TrainingConfig.from_file("settings.yaml")
    assert (read.data, read.output) == (home / "dogs", home / "runs")
    (home / "own.json").write_text('{"data": "x"}', encoding="utf-8")
    assert TrainingConfig.from_file("~/own.json").data == Path("x")
    Path("null.yaml").write_text("data: ~\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="data has no value: .*in YAML a single ~ means no value"):
        TrainingConfig.from_file("null.yaml")


def test_an_empty_variable_of_the_environment_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert TrainingConfig.environment({"BREEDCLF_OUTPUT": "", "BREEDCLF_EPOCHS": "2"}) == {"epochs": "2"}
    monkeypatch.setenv(CACHE_DIR_VARIABLE, "~/cache")
    assert cache_folder() == home / "cache"
    monkeypatch.setenv(CACHE_DIR_VARIABLE, "")
    assert cache_folder().name == "breedclf"


def arguments_of(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, argparse.Action]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from arguments_of(each)
        else:
            yield parser, action


def all_arguments() -> list[tuple[argparse.ArgumentParser, argparse.Action]]:
    parsers = [cli._parser([verb])._subparsers._group_actions[0].choices[verb] for verb in COMMANDS]  # type: ignore[union-attr]
    return [each for parser in parsers for each in arguments_of(parser)]


NAMES_OF_PATHS = ("DIR", "FILE", "PATH", "MODEL", "IMG", "FOLDER")
SETTINGS_OF_VERBS = {name.replace("_", "-") for model in USER_SETTINGS for name in model.model_fields} | {"data"}


def is_a_setting(action: argparse.Action) -> bool:
    return action.default is argparse.SUPPRESS and action.dest.replace("_", "-") in SETTINGS_OF_VERBS


def test_every_argument_that_names_a_path_is_read_as_one() -> None:
    paths = [
        (parser, action)
        for parser, action in all_arguments()
        if any(word in str(action.metavar).split("|") for word in NAMES_OF_PATHS) or action.type is Path
    ]
    wrong = [
        f"{parser.prog} {action.option_strings or action.metavar}"
        for parser, action in paths
        if action.type not in (path_argument, path_or_uri_argument) and not is_a_setting(action)
    ]
    assert wrong == [], "give these type=path_argument, or make them settings"
    assert len(paths) >= 20


def test_every_action_takes_the_common_options() -> None:
    by_parser: dict[str, set[str]] = {}
    for parser, action in all_arguments():
        by_parser.setdefault(parser.prog, set()).update(action.option_strings)
    assert {prog for prog, flags in by_parser.items() if not {"--json", "--quiet", "--debug"} <= flags} == set()
    assert "breedclf endpoints list" in by_parser


@pytest.mark.parametrize(
    "words",
    [
        ["train", ""],
        ["train", "dogs", "--output", ""],
        ["train", "dogs", "--weights", ""],
        ["train", "dogs", "--cache-dir", ""],
        ["train", "--config", ""],
        ["evaluate", "", "dogs"],
        ["predict", "model", "a.jpg", ""],
        ["tune", "dogs", "--learning-rate", "0.1,0.2", "--output", ""],
        ["profile", ""],
        ["profile", "dogs", "--output", ""],
        ["serve", ""],
        ["deploy", ""],
        ["export", "model", "--output", ""],
        ["cache", "list", "--cache-dir", ""],
        ["data", "check", ""],
        ["data", "get", "oxford-pets", "--output", ""],
        ["data", "upload", "", "s3://b/x"],
        ["sagemaker", "emulate", "--home", ""],
        ["demo", "--output", ""],
    ],
    ids=" ".join,
)
def test_an_empty_path_ends_a_command_before_it_begins(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    try:
        code: object = cli.main(words)
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert "is empty: give a path" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def public_paths() -> dict[str, Callable[[Any], Any]]:
    """How each public function is given the path: by its name and the parameter's."""
    from breedclf import (
        Classifier,
        Deployment,
        InlineBackend,
        JobSpec,
        JourneyResult,
        JourneySettings,
        LocalBackend,
        ModelStore,
        ProfilingSession,
        S3Dataset,
        SageMakerBackend,
        TensorBoardLogger,
        TuningJob,
        evaluate,
        export,
        model_card,
    )

    def recording(path: Any) -> Any:
        with ProfilingSession.record(path) as session:
            return session._recorder.folder

    return {
        "Classifier.__init__(model)": Classifier,
        "Deployment.__init__(model)": lambda path: Deployment(path).spec.artifact,
        "Deployment.__init__(calibration)": lambda path: (
            Deployment("x", engine="openvino", precision="int8", calibration=path).spec.engine.calibration
        ),
        "Deployment.transform(folder)": lambda path: Deployment("x").transform(path, "out"),
        "Deployment.transform(output)": lambda path: Deployment("x").transform("in", path),
        "Deployment.transform(cache_dir)": lambda path: Deployment("x").transform("in", "out", cache_dir=path),
        "InlineBackend.__init__(home)": lambda path: InlineBackend(path).home,
        "JobSpec.__init__(channels)": lambda path: JobSpec("x", channels={"training": path}).channels["training"],
        "JobSpec.__init__(modules)": lambda path: JobSpec("x", modules={"mycode.py": path}).modules["mycode.py"],
        "JobSpec.__init__(source)": lambda path: JobSpec("x", source=path).source,
        "JobSpec.__init__(cache_dir)": lambda path: JobSpec("x", cache_dir=path).cache_dir,
        "JourneyResult.load(folder)": JourneyResult.load,
        "JourneySettings.from_file(path)": JourneySettings.from_file,
        "JourneySettings.values_in_file(path)": JourneySettings.values_in_file,
        "LocalBackend.__init__(home)": lambda path: LocalBackend(path).home,
        "LocalBackend.__init__(python)": lambda path: LocalBackend(python=path).settings.python,
        "ModelStore.__init__(path)": lambda path: ModelStore(path).path,
        "ModelStore.compare(data)": lambda path: ModelStore().compare("dogs", 1, 2, data=path),
        "ModelStore.compare(labels)": lambda path: ModelStore().compare("dogs", 1, 2, data="dogs", labels=path),
        "ModelComparison.report(path)": lambda path: breedclf.ModelComparison.report(None, path),  # type: ignore[arg-type]
        "compare_models(a)": lambda path: breedclf.compare_models(path, "b", "dogs"),
        "compare_models(b)": lambda path: breedclf.compare_models("a", path, "dogs"),
        "compare_models(cache_dir)": lambda path: breedclf.compare_models("a", "b", "dogs", cache_dir=path),
        "compare_models(data)": lambda path: breedclf.compare_models("a", "b", path),
        "compare_models(labels)": lambda path: breedclf.compare_models("a", "b", "dogs", labels=path),
        "ModelStore.promote(data)": lambda path: ModelStore().promote("dogs", 1, data=path),
        "ProfilingSession.attach(source)": ProfilingSession.attach,
        "ProfilingSession.record(output)": recording,
        "ProfilingSession.report(path)": lambda path: ProfilingSession().report(path),
        "ProfilingSession.verify(folder)": lambda path: ProfilingSession().verify(folder=path),
        "ProfilingSession.save(folder)": lambda path: ProfilingSession().save(path),
        "S3Dataset.upload(folder)": lambda path: S3Dataset.upload(path, "s3://b/x"),
        "SageMakerBackend.__init__(home)": lambda path: SageMakerBackend(region="eu-west-1", home=path).home,
        "model_card(evaluation)": lambda path: model_card("x", path),
        "TensorBoardLogger.__init__(folder)": lambda path: TensorBoardLogger(path)._store._folder,
        "TrainingConfig.from_file(path)": TrainingConfig.from_file,
        "TrainingConfig.to_file(path)": lambda path: TrainingConfig(data="x").to_file(path),
        "TuningJob.__init__(home)": lambda path: TuningJob(
            TrainingConfig(data="x"), {"epochs": breedclf.Integer(1, 2)}, home=path
        ),
        "TuningJob.attach(home)": lambda path: TuningJob.attach("x", home=path),
        "TuningJob.look(home)": lambda path: TuningJob.look("x", home=path),
        "TuningJob.report(path)": lambda path: TuningJob.report(None, path),  # type: ignore[arg-type]
        "evaluate(model)": lambda path: evaluate(path, "dogs"),
        "evaluate(data)": lambda path: evaluate("model", path),
        "evaluate(labels)": lambda path: evaluate("model", "dogs", labels=path),
        "evaluate(output)": lambda path: evaluate("model", "dogs", output=path),
        "evaluate(unlike)": lambda path: evaluate("model", "dogs", unlike=path),
        "evaluate(cache_dir)": lambda path: evaluate("model", "dogs", cache_dir=path),
        "check(folder)": breedclf.check,
        "check(labels)": lambda path: breedclf.check("dogs", labels=path),
        "check(cache_dir)": lambda path: breedclf.check("dogs", cache_dir=path),
        "write_image_folder(folder)": lambda path: breedclf.write_image_folder(
            breedclf.from_arrays(PIXELS, ["a"]), path
        ),
        "BackboneComparison.report(path)": lambda path: breedclf.BackboneComparison.report(None, path),  # type: ignore[arg-type]
        "LearningRateCurve.plot(path)": lambda path: breedclf.LearningRateCurve.plot(None, path),  # type: ignore[arg-type]
        "Review.apply(folder)": lambda path: breedclf.Review.apply(None, path),  # type: ignore[arg-type]
        "Review.apply(moves)": lambda path: breedclf.Review.apply(None, "corrected", path),  # type: ignore[arg-type]
        "Review.moves(path)": lambda path: breedclf.Review.moves(None, path),  # type: ignore[arg-type]
        "Review.report(path)": lambda path: breedclf.Review.report(None, path),  # type: ignore[arg-type]
        "Profile.load(path)": breedclf.Profile.load,
        "Profile.save(path)": lambda path: breedclf.Profile.save(None, path),  # type: ignore[arg-type]
        "S3Dataset.upload(labels)": lambda path: S3Dataset.upload("dogs", "s3://b/x", labels=path),
        "TrainingConfig.values_in_file(path)": TrainingConfig.values_in_file,
        "export(model)": export,
        "export(output)": lambda path: export("model", path),
        "export(data)": lambda path: export("model", data=path),
    }


LATER = {  # looked at only once a model is loaded, which the tests of these functions do
    "Deployment.transform(folder)",
    "BackboneComparison.report(path)",
    "LearningRateCurve.plot(path)",
    "ModelComparison.report(path)",
    "ModelStore.compare(data)",
    "ModelStore.compare(labels)",
    "ModelStore.promote(data)",
    "compare_models(cache_dir)",
    "compare_models(data)",
    "compare_models(labels)",
    "Profile.save(path)",
    "ProfilingSession.report(path)",
    "ProfilingSession.save(folder)",
    "Review.apply(folder)",
    "Review.apply(moves)",
    "Review.moves(path)",
    "Review.report(path)",
    "TuningJob.report(path)",
    "export(output)",
    "export(data)",
}


# These are checked only after other arguments that don't exist.
UNTOLD = {"Deployment.transform(output)", "TrainingConfig.to_file(path)", "TuningJob.__init__(home)"}
UNTOLD |= {"Deployment.transform(cache_dir)", "ProfilingSession.verify(folder)", "compare_models(b)"}
UNTOLD |= {"check(cache_dir)", "evaluate(data)", "evaluate(output)", "evaluate(unlike)", "evaluate(cache_dir)"}


MADE_BY_BREEDCLF = {
    "BestTrial",
    "ExplainedPrediction",
    "Export",
    "FitResult",
    "ForeignLoop",
    "Prediction",
    "TrainingPlan",
    "TransformResult",
}  # no path of a user's


def public_parameters() -> Iterator[str]:
    """Each parameter of a public function or method whose annotation holds a path."""
    for name in sorted(set(breedclf.__all__) - MADE_BY_BREEDCLF):
        value = getattr(breedclf, name)
        if inspect.isclass(value):
            methods = [(f"{name}.{key}", getattr(value, key)) for key in vars(value) if not key.startswith("_")]
            methods += [(f"{name}.__init__", value.__init__)]
        elif callable(value):
            methods = [(name, value)]
        else:
            continue
        for where, function in methods:
            if not callable(function):
                continue
            for parameter in inspect.signature(function).parameters.values():
                if "Path" in str(parameter.annotation):
                    yield f"{where}({parameter.name})"


def test_every_public_parameter_that_is_a_path_is_tried() -> None:
    # Deployment and Endpoint call these with paths that they have resolved; the last one calls model_card.
    resolved = {
        "SageMakerBackend.transform_images(artifact)",
        "SageMakerBackend.update_endpoint(artifact)",
        "ServingBackend.update_endpoint(artifact)",
        "push_to_hub(evaluation)",
    }
    in_s3_too = {f"{each}(feature_store)" for each in ("evaluate", "compare_models", "Deployment.transform")}
    of_networks = {
        "TuningJob.__init__(weights)",
        "compare_backbones(weights)",
    }  # as the setting
    found = {"JourneyResult.__init__(model)", "JourneyResult.__init__(report)"}
    tried = set(public_paths()) | {"evaluate(model)"} | in_s3_too | resolved | of_networks | found
    assert sorted(set(public_parameters()) - tried) == []


@pytest.mark.parametrize("name", sorted(set(public_paths()) - LATER))
def test_python_means_the_home_folder_and_refuses_an_empty_path(name: str, home: Path) -> None:
    call = public_paths()[name]
    with pytest.raises(ConfigError, match=r"is empty: give a path"):
        call("")
    told: object
    try:
        told = call("~/nowhere")
    except BreedclfError as error:
        told = error
    assert name in UNTOLD or str(home) in str(told)
    assert not Path("~").exists()


def test_images_of_the_home_folder_are_found(home: Path) -> None:
    from PIL import Image

    from breedclf.api.endpoint import file_of

    Image.new("RGB", (8, 8)).save(home / "a.png")
    assert file_of("~/a.png").startswith(b"\x89PNG")
    Image.new("RGB", (8, 8)).save("~$a.png")
    assert file_of("~$a.png").startswith(b"\x89PNG")


def test_all_modules_that_take_paths_from_the_command_line_are_imported() -> None:
    """Every module of a command is covered by the tests above."""
    modules = {each.name for each in pkgutil.iter_modules(cli.__path__)} - {"terminal", "flags", "common"}
    parts = {each for each in modules if each.startswith("models_")}
    assert modules - parts - {"sagemaker_account", "review"} == set(COMMANDS)
