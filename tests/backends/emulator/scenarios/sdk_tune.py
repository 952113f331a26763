"""Tunes by the SageMaker SDK's own HyperparameterTuner and prints its analytics and its best job as JSON."""

from __future__ import annotations

import json
import sys

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter
from sagemaker.core.training.configs import Compute, InputData, OutputDataConfig, StoppingCondition
from sagemaker.train import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner

from tests.backends.emulator.scenarios.sdk_train import IMAGE, NO_TELEMETRY, ROLE


def main(bucket: str) -> None:
    session = Session(boto_session=boto3.Session(), default_bucket=bucket, sagemaker_config=NO_TELEMETRY)
    trainer = ModelTrainer(
        sagemaker_session=session,
        role=ROLE,
        training_image=IMAGE,
        compute=Compute(instance_type="ml.m5.xlarge", instance_count=1, volume_size_in_gb=10),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=600),
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/out"),
        hyperparameters={
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz",
        },
    )
    tuner = HyperparameterTuner(
        trainer,
        "loss",
        {"rate": ContinuousParameter(0.1, 0.9), "kind": CategoricalParameter(["adam", "sgd"])},
        metric_definitions=[{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        objective_type="Minimize",
        strategy="Random",
        max_jobs=3,
        max_parallel_jobs=2,
        random_seed=7,
    )
    tuner.tune(
        inputs=[InputData(channel_name="code", data_source=f"s3://{bucket}/code/tuned")],
        job_name="by-the-sdk",
        wait=False,
    )
    tuner.latest_tuning_job.wait(poll=1)
    table = tuner.analytics().dataframe()
    best = tuner.latest_tuning_job.refresh().best_training_job
    seen = {
        "columns": sorted(table.columns),
        "objectives": sorted(float(value) for value in table["FinalObjectiveValue"]),
        "statuses": sorted(set(table["TrainingJobStatus"])),
        "best": tuner.best_training_job(),
        "best_objective": best.final_hyper_parameter_tuning_job_objective_metric.value,
        "tuned": dict(best.tuned_hyper_parameters),
    }
    sys.stdout.write(f"\nSEEN {json.dumps(seen)}\n")


if __name__ == "__main__":
    main(sys.argv[1])
