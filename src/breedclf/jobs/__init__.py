"""What a job and an endpoint are on any backend: specification, status, protocols and handle."""

from breedclf.config.hyperparameters import MAX_HYPERPARAMETER_CHARS, MAX_HYPERPARAMETERS
from breedclf.jobs.names import MAX_NAME_CHARS, check_name, is_name, new_name
from breedclf.jobs.protocols import (
    Backend,
    DelayedBackend,
    HomeBackend,
    JoiningBackend,
    PacedBackend,
    PlanningBackend,
    TuningBackend,
)
from breedclf.jobs.spec import (
    CODE_CHANNEL,
    DATA_CHANNEL,
    DEFAULT_MAX_RUNTIME_SECONDS,
    LABELS_CHANNEL,
    MAX_FAILURE_REASON_CHARS,
    MODEL_CHANNEL,
    RESULT_FILE,
    WEIGHTS_CHANNEL,
    JobSpec,
    iterate_lines,
    remote_address,
    require_here,
)
from breedclf.jobs.status import JobDescription, JobStatus, MetricRecord, SecondaryStatus, Transition
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock, detach, pauses, print_on_stderr, seconds_until_complete

__all__ = [
    "CODE_CHANNEL",
    "DATA_CHANNEL",
    "DEFAULT_MAX_RUNTIME_SECONDS",
    "LABELS_CHANNEL",
    "MAX_FAILURE_REASON_CHARS",
    "MAX_HYPERPARAMETERS",
    "MAX_HYPERPARAMETER_CHARS",
    "MAX_NAME_CHARS",
    "MODEL_CHANNEL",
    "RESULT_FILE",
    "SYSTEM_CLOCK",
    "WEIGHTS_CHANNEL",
    "Backend",
    "Clock",
    "DelayedBackend",
    "HomeBackend",
    "JobDescription",
    "JobSpec",
    "JobStatus",
    "JoiningBackend",
    "MetricRecord",
    "PacedBackend",
    "PlanningBackend",
    "SecondaryStatus",
    "Transition",
    "TuningBackend",
    "check_name",
    "detach",
    "is_name",
    "iterate_lines",
    "new_name",
    "pauses",
    "print_on_stderr",
    "remote_address",
    "require_here",
    "seconds_until_complete",
]
