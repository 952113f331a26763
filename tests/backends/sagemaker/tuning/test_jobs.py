"""Native tuning jobs: created once even if a response is lost, described, stopped and found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from breedclf import Trainer, TrainingConfig
from breedclf.api.native_tuning import native_search
from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.training.preparation import TrainingRequests
from breedclf.backends.sagemaker.tuning.jobs import TuningJobs
from breedclf.errors import ConfigError
from breedclf.jobs import JobSpec
from breedclf.jobs.endpoints import EndpointSpec
from breedclf.tuning.native import NativeSearch, NativeTuning
from breedclf.tuning.search_request import SearchRequest
from tests.backends.sagemaker.fake_service import FakeSageMaker, Identity
from tests.backends.sagemaker.tuning.test_request import SPACE
from tests.fakes import FakeClock

ROLE = "arn:aws:iam::111122223333:role/breedclf"
IMAGE = "111122223333.dkr.ecr.us-east-1.amazonaws.com/own/train:1"


class Fakes:
    """Clients by service name."""

    session = None

    def __init__(self, sagemaker: FakeSageMaker) -> None:
        self.sagemaker = sagemaker

    def __call__(self, service: str) -> Any:
        if service == "s3":
            return None  # what is refused before anything is sent needs no storage
        if service == "sts":
            return Identity()
        assert service == "sagemaker", service
        return self.sagemaker


class Requests(TrainingRequests):
    """Training requests whose inputs are already in S3."""

    def prepared(self, spec: JobSpec, *, check_name: Callable[[], object]) -> dict[str, Any]:
        check_name()
        return self.planned(spec)


@pytest.fixture
def service() -> FakeSageMaker:
    return FakeSageMaker()


def context(service: FakeSageMaker, home: Path, **settings: Any) -> AwsContext:
    values = SageMakerSettings(role=ROLE, bucket="images", image=IMAGE, **settings)
    return AwsContext(values, Fakes(service), home, FakeClock(service.now))  # type: ignore[arg-type]


def tuning_jobs(service: FakeSageMaker, home: Path, **settings: Any) -> TuningJobs:
    shared = context(service, home, **settings)
    return TuningJobs(shared, Requests(shared))


def search(since: float = 1_000_000.0, **changes: Any) -> NativeSearch:
    config = TrainingConfig(data="s3://images/breedclf/data/dogs", weights="none")
    values: dict[str, Any] = {"name": "dogs", "config": config, "space": SPACE, "max_jobs": 4, "max_parallel_jobs": 2}
    return native_search(SearchRequest(**{**values, **changes}), since=since)


def test_it_implements_the_protocol(service, tmp_path) -> None:
    made = SageMakerBackend(ROLE, "images", clients=Fakes(service), home=tmp_path)
    assert isinstance(made, NativeTuning)


def test_a_tuning_job_is_tagged(service, tmp_path) -> None:
    made = tuning_jobs(service, tmp_path)
    made.create_tuning(search())
    tags = service.tags["arn:aws:sagemaker:us-east-1:111122223333:hyper-parameter-tuning-job/dogs"]
    assert tags["breedclf"] and tags["breedclf-purpose"] == "tuning" and tags["breedclf-tuning"] == "dogs"
    assert service.calls == ["DescribeHyperParameterTuningJob", "CreateHyperParameterTuningJob"]
    shown = made.planned_call(search()).parameters
    assert shown["TrainingJobDefinition"]["OutputDataConfig"] == {"S3OutputPath": "s3://images/breedclf/jobs"}


def test_an_answer_that_is_lost_makes_no_second_search(service, tmp_path) -> None:
    service.lose_the_next_answer = True
    tuning_jobs(service, tmp_path).create_tuning(search())
    assert list(service.tuning) == ["dogs"]
    tuning_jobs(service, tmp_path).create_tuning(search())  # as after a crash


@pytest.mark.parametrize("change", [{"seed": 1}, {"max_jobs": 5}, {"space": {"epochs": SPACE["epochs"]}}])
def test_a_name_that_another_search_has_is_taken(service, tmp_path, change) -> None:
    made = tuning_jobs(service, tmp_path)
    made.create_tuning(search())
    with pytest.raises(
        ConfigError, match="tuning job name 'dogs' is taken: attach to that job, or choose another name"
    ):
        made.create_tuning(search(**change))


def test_the_same_search_from_last_week_is_another_one(service, tmp_path) -> None:
    made = tuning_jobs(service, tmp_path)
    made.create_tuning(search())
    with pytest.raises(ConfigError, match="tuning job name 'dogs' is taken"):
        made.create_tuning(search(since=service.now + 7 * 86_400))


def test_it_is_described_with_all_its_trainings(service, tmp_path) -> None:
    made = tuning_jobs(service, tmp_path)
    assert made.describe_tuning("dogs") is None
    made.create_tuning(search())
    tuned = {"learning_rate": "0.007", "batch_size": "32", "epochs": "2"}
    service.child("dogs", "dogs-001-a", "Completed", tuned, 0.5)
    service.child("dogs", "dogs-002-b", "Failed", tuned)
    service.child("dogs", "dogs-003-c", "Deleting", tuned)
    service.tuning["dogs"]["BestTrainingJob"] = service.children["dogs"][0]
    described = made.describe_tuning("dogs")
    assert described is not None and (described.status, described.best, described.created) == (
        "InProgress",
        "dogs-001-a",
        service.now,
    )
    assert [(trial.name, trial.status, trial.objective) for trial in described.trials] == [
        ("dogs-001-a", "Completed", 0.5),
        ("dogs-002-b", "Failed", None),
        ("dogs-003-c", "Stopping", None),
    ]
    assert described.trials[1].failure_reason == "AlgorithmError: out of memory"


def test_all_tuning_jobs_are_listed_without_their_trainings(service, tmp_path) -> None:
    made = tuning_jobs(service, tmp_path)
    assert made.list_tunings() == []
    made.create_tuning(search())
    counters = {"Completed": 2, "InProgress": 1, "NonRetryableError": 1, "RetryableError": 1, "Stopped": 0}
    service.tuning["dogs"] |= {
        "TrainingJobStatusCounters": counters,
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
    }
    [listed] = made.list_tunings()
    assert (listed.name, listed.status, listed.created, listed.ended) == ("dogs", "InProgress", service.now, None)
    assert listed.planned == 4
    assert listed.counts == {"Completed": 2, "InProgress": 1, "Stopped": 0, "Failed": 2}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"TrainingJobStatusCounters": {"Completed": 3, "NonRetryableError": 1}}, "all 4 trials have run"),
        ({"FailureReason": "the role can't be assumed"}, "the role can't be assumed"),
        (
            {"TuningJobCompletionDetails": {"NumberOfTrainingJobsObjectiveNotImproving": 3}},
            "3 trials in a row ended without a better objective",
        ),
    ],
)
def test_the_reason_for_the_end_of_a_search_is_described(service, tmp_path, change, reason) -> None:
    from breedclf.tuning.stopping import Completion

    made = tuning_jobs(service, tmp_path)
    made.create_tuning(search(completion=Completion(not_improving=3)))
    service.tuning["dogs"].update({"HyperParameterTuningJobStatus": "Completed", **change})
    described = made.describe_tuning("dogs")
    assert described is not None and described.reason == reason


def test_stopping_twice_or_what_isn_t_there_does_nothing(service, tmp_path) -> None:
    made = tuning_jobs(service, tmp_path)
    made.stop_tuning("dogs")
    made.create_tuning(search())
    made.stop_tuning("dogs")
    made.stop_tuning("dogs")
    assert service.tuning["dogs"]["HyperParameterTuningJobStatus"] == "Stopping"


def test_a_search_is_found_again_from_the_service_s_record(service, tmp_path) -> None:
    made = tuning_jobs(service, tmp_path)
    made.create_tuning(search(seed=7, early_stopping=True))
    found = made.find_tuning("dogs")
    assert (found.space, found.seed, found.early_stopping, found.max_jobs) == (SPACE, 7, True, 4)
    assert found.config == search().request.config
    with pytest.raises(ConfigError, match="no tuning job 'cats', neither here nor in SageMaker"):
        made.find_tuning("cats")


def test_what_may_cost_too_much_is_never_sent(service, tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"up to \$\d+.\d\d, more than max_cost=\$5.00:\n.*4 training jobs"):
        tuning_jobs(service, tmp_path, max_cost=5).create_tuning(search())
    with pytest.raises(ConfigError, match="no price for ml.c7i.large [(]training"):
        tuning_jobs(service, tmp_path, max_cost=5_000, instance_type="ml.c7i.large").create_tuning(search())
    assert service.calls == []
    tuning_jobs(service, tmp_path, max_cost=50).create_tuning(search())
    assert service.calls == ["DescribeHyperParameterTuningJob", "CreateHyperParameterTuningJob"]


def test_a_training_job_is_planned_without_calls_to_aws(tmp_path, capsys) -> None:
    service = FakeSageMaker()
    made = SageMakerBackend(ROLE, "images", "us-east-1", clients=Fakes(service), home=tmp_path, image=IMAGE)
    trainer = Trainer(TrainingConfig(data="s3://images/breedclf/data/dogs", weights="none"), backend=made)
    plan = trainer.plan(max_runtime_seconds=7_200, dry_run=True)
    assert plan.cost == pytest.approx(2 * 0.23 + 2 * 30 / 730 * 0.14)
    [call] = json.loads(capsys.readouterr().out)
    assert call["parameters"]["StoppingCondition"] == {"MaxRuntimeInSeconds": 7_200}
    assert service.calls == []
    with pytest.raises(ConfigError, match="this one costs nothing"):
        Trainer(TrainingConfig(data="dogs"), backend="local").plan()


def test_an_endpoint_without_an_end_is_refused_where_a_limit_is_set(tmp_path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "breedclf.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"")
    service = FakeSageMaker()
    made = SageMakerBackend(
        ROLE, "images", "us-east-1", clients=Fakes(service), home=tmp_path, serving_image=IMAGE, max_cost=5
    )
    endless, short = EndpointSpec("dogs", model), EndpointSpec("dogs", model, ttl_seconds=3_600)
    with pytest.raises(ConfigError, match="unknown, but max_cost=5 is set:\n.*it runs until you delete it"):
        made.create_endpoint(endless)
    with pytest.raises(ConfigError, match="unknown, but max_cost=5"):
        made.plan(endless)
    with pytest.raises(ConfigError, match="AWS doesn't delete it when it expires; \\$0.23 if you do"):
        made.plan(short)
    ended = SageMakerBackend(settings=made.settings, clients=made.clients, endpoint_end_role=ROLE, home=tmp_path)
    assert ended.plan(short).cost == pytest.approx(0.23)
    assert not {call for call in service.calls if call.startswith("Create")}


def test_a_quota_error_names_the_remedy(service, tmp_path, monkeypatch) -> None:
    def refused(**_request: Any) -> None:
        error = {"Code": "ResourceLimitExceeded", "Message": "ml.m5.xlarge for training job usage is 0 Instances"}
        raise ClientError({"Error": error}, "CreateHyperParameterTuningJob")

    monkeypatch.setattr(service, "create_hyper_parameter_tuning_job", refused)
    with pytest.raises(
        Exception, match="starting tuning job dogs: an account quota .*ml.m5.xlarge for training job usage"
    ):
        tuning_jobs(service, tmp_path).create_tuning(search())
