"""A project as SageMaker SDK v2's users write it: tune, debug and profile, deploy, predict, delete."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sagemaker
from botocore.exceptions import ClientError
from sagemaker.analytics import TrainingJobAnalytics
from sagemaker.debugger import (
    CollectionConfig,
    DebuggerHookConfig,
    FrameworkProfile,
    ProfilerConfig,
    ProfilerRule,
    Rule,
    rule_configs,
)
from sagemaker.deserializers import JSONDeserializer
from sagemaker.predictor import Predictor
from sagemaker.pytorch import PyTorch, PyTorchModel
from sagemaker.serializers import IdentitySerializer, JSONSerializer
from sagemaker.tuner import CategoricalParameter, ContinuousParameter, HyperparameterTuner

ROLE = "breedclf"  # a name: the SDK asks IAM for its ARN
SOURCE = str(Path(__file__).parent / "source")
METRICS = [{"Name": "valid_loss", "Regex": r"valid loss: ([0-9.]+)"}]
VERSIONS = {"framework_version": "1.8.0", "py_version": "py36"}
MACHINE = {"role": ROLE, "instance_count": 1, "instance_type": "ml.m5.xlarge"}
SECONDS = 120


@pytest.fixture(scope="session")
def session(emulator: dict[str, str]) -> sagemaker.Session:
    """With a bucket of its own: for the default one's name the SDK asks STS at its public address, whatever is set."""
    """With a bucket of its own: for the default one's name the SDK asks STS at its public address, whatever is set."""
    assert emulator["AWS_ENDPOINT_URL"]
    assert emulator["AWS_ENDPOINT_URL"]
    return sagemaker.Session(default_bucket="dog-project")


@pytest.fixture(scope="session")
def data(session: sagemaker.Session, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data")
    for name in ("beagle.jpg", "pug.jpg"):
        (folder / name).write_bytes(b"an image")
    return str(session.upload_data(str(folder), key_prefix="dogs"))


@pytest.fixture(scope="session")
def tuner(session: sagemaker.Session, data: str) -> HyperparameterTuner:
    """The tuning job of the project, which has ended."""
    estimator = PyTorch(entry_point="train.py", source_dir=SOURCE, sagemaker_session=session, **MACHINE, **VERSIONS)
    estimator.set_hyperparameters(epochs=2)
    ranges = {"learning-rate": ContinuousParameter(0.005, 0.01), "batch-size": CategoricalParameter([32, 64])}
    tuner = HyperparameterTuner(
        estimator, "valid_loss", ranges, METRICS, objective_type="Minimize", max_jobs=3, max_parallel_jobs=2
    )
    tuner.fit({"training": data}, wait=True)
    return tuner


@pytest.fixture(scope="session")
def trained(session: sagemaker.Session, data: str) -> PyTorch:
    """A completed training job with all features of debugger and profiler."""
    estimator = PyTorch(
        entry_point="train.py",
        source_dir=SOURCE,
        sagemaker_session=session,
        hyperparameters={"learning-rate": 0.006, "batch-size": 32, "epochs": 3},
        metric_definitions=METRICS,
        debugger_hook_config=DebuggerHookConfig(
            hook_parameters={"train.save_interval": "100", "eval.save_interval": "10"},
            collection_configs=[CollectionConfig(name="losses")],
        ),
        profiler_config=ProfilerConfig(
            system_monitor_interval_millis=500, framework_profile_params=FrameworkProfile(num_steps=10)
        ),
        rules=[
            Rule.sagemaker(rule_configs.vanishing_gradient()),
            Rule.sagemaker(rule_configs.overfit()),
            Rule.sagemaker(rule_configs.loss_not_decreasing()),
            ProfilerRule.sagemaker(rule_configs.LowGPUUtilization()),
            ProfilerRule.sagemaker(rule_configs.ProfilerReport()),
        ],
        **MACHINE,
        **VERSIONS,
    )
    estimator.fit({"training": data}, wait=True, logs="All")
    return estimator


def test_the_tuning_names_its_best_and_its_table_holds_every_job(tuner: HyperparameterTuner) -> None:
    table = tuner.analytics().dataframe()
    assert len(table) == 3
    assert set(table["TrainingJobStatus"]) == {"Completed"}
    assert {"learning-rate", "batch-size", "FinalObjectiveValue", "TrainingElapsedTimeSeconds"} <= set(table.columns)
    best = table.loc[table["FinalObjectiveValue"].idxmin()]
    assert tuner.best_training_job() == best["TrainingJobName"]
    assert tuner.describe()["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"]["InstanceCount"] == 1


def test_the_best_estimator_has_what_was_tuned(tuner: HyperparameterTuner) -> None:
    best = tuner.best_estimator()
    tuned = best.hyperparameters()
    assert 0.005 <= float(tuned["learning-rate"]) <= 0.01
    assert tuned["batch-size"].strip('"') in ("32", "64")
    assert best.model_data.endswith(f"{tuner.best_training_job()}/output/model.tar.gz")
    assert best.instance_type == "ml.m5.xlarge"
    assert best.training_image_uri()
    assert best.output_kms_key == ""


def test_a_tuning_job_is_attached_to_by_name(tuner: HyperparameterTuner, session: sagemaker.Session) -> None:
    attached = HyperparameterTuner.attach(
        tuner.latest_tuning_job.name, sagemaker_session=session, estimator_cls="sagemaker.pytorch.PyTorch"
    )
    assert attached.best_training_job() == tuner.best_training_job()
    assert attached.best_estimator().latest_training_job.name == tuner.best_training_job()
    assert attached.max_jobs == 3


def test_a_job_with_debugger_and_profiler_is_described_completely(
    trained: PyTorch, session: sagemaker.Session, capsys: pytest.CaptureFixture[str]
) -> None:
    told = trained.latest_training_job.describe()
    assert told["TrainingJobStatus"] == "Completed"
    assert told["DebugHookConfig"]["HookParameters"] == {"train.save_interval": "100", "eval.save_interval": "10"}
    assert told["ProfilerConfig"]["ProfilingIntervalInMilliseconds"] == 500
    assert told["ProfilingStatus"] == "Enabled"
    rules = {each["RuleConfigurationName"] for each in trained.latest_training_job.rule_job_summary()}
    assert {"VanishingGradient", "Overfit", "LossNotDecreasing", "LowGPUUtilization", "ProfilerReport"} <= rules
    assert {each["MetricName"] for each in told["FinalMetricDataList"]} == {"valid_loss"}
    capsys.readouterr()
    session.logs_for_job(trained.latest_training_job.name, wait=False)
    shown = capsys.readouterr().out
    assert [f"epoch {number}: valid loss" in shown for number in (1, 2, 3)] == [True] * 3


def test_a_training_is_attached_to_by_name(trained: PyTorch, session: sagemaker.Session) -> None:
    attached = PyTorch.attach(trained.latest_training_job.name, sagemaker_session=session)
    assert attached.model_data == trained.model_data
    assert attached.hyperparameters()["epochs"] == "3"
    assert attached.framework_version == VERSIONS["framework_version"]


def in_service(session: sagemaker.Session, name: str) -> None:
    """As the SDK's own wait, which looks every 30 seconds only."""
    until = time.monotonic() + SECONDS
    while (status := session.describe_endpoint(name)["EndpointStatus"]) != "InService":
        assert status == "Creating"
        assert time.monotonic() < until
        time.sleep(0.2)


class ImagePredictor(Predictor):
    """Sends images as they are, as the SDK's guide shows."""

    def __init__(self, endpoint_name: str, sagemaker_session: Any = None, **_: Any) -> None:
        super().__init__(endpoint_name, sagemaker_session, IdentitySerializer("image/jpeg"), JSONDeserializer())


@pytest.fixture(params=["model", "estimator"])
def predictor(request: pytest.FixtureRequest, trained: PyTorch, session: sagemaker.Session) -> Iterator[Predictor]:
    """An endpoint by `PyTorchModel(...).deploy` or `estimator.deploy`."""
    name, machine = f"by-{request.param}", {"initial_instance_count": 1, "instance_type": "ml.m5.large", "wait": False}
    if request.param == "model":
        model = PyTorchModel(
            model_data=trained.model_data,
            role=ROLE,
            entry_point="inference.py",
            source_dir=SOURCE,
            predictor_cls=ImagePredictor,
            sagemaker_session=session,
            **VERSIONS,
        )
        predictor = model.deploy(endpoint_name=name, **machine)
    else:
        predictor = trained.deploy(
            endpoint_name=name,
            entry_point="inference.py",
            source_dir=SOURCE,
            serializer=JSONSerializer(),
            deserializer=JSONDeserializer(),
            **machine,
        )
    in_service(session, name)
    yield predictor


def test_an_endpoint_answers_and_is_deleted(predictor: Predictor, session: sagemaker.Session) -> None:
    by_image = predictor.content_type == "image/jpeg"
    answer = predictor.predict(b"12345" if by_image else {"image": "12345"})
    assert answer == {"bytes": 5, "names": ["beagle.jpg", "pug.jpg"]}
    with pytest.raises(ClientError, match="is no image"):
        predictor.predict(b"12345" if by_image else {"image": "1"}, initial_args={"ContentType": "text/csv"})

    predictor.delete_model()
    predictor.delete_endpoint(delete_endpoint_config=True)
    client = session.sagemaker_client
    until = time.monotonic() + SECONDS
    while client.list_endpoints(NameContains=predictor.endpoint_name)["Endpoints"]:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert client.list_models()["Models"] == []
    assert client.list_endpoint_configs()["EndpointConfigs"] == []


def test_the_metrics_of_a_training_are_refused_by_name(trained: PyTorch, session: sagemaker.Session) -> None:
    """They come from CloudWatch, which isn't emulated: the SDK gets an error rather than no data."""
    analytics = TrainingJobAnalytics(trained.latest_training_job.name, ["valid_loss"], sagemaker_session=session)
    with pytest.raises(ClientError, match="doesn't emulate"):
        analytics.dataframe()
