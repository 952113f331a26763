from breedclf._version import __version__ as __version__
from breedclf.api.best_trial import BestTrial as BestTrial
from breedclf.api.deployment import Deployment as Deployment
from breedclf.api.endpoint import Endpoint as Endpoint
from breedclf.api.explained import (
    EndpointExplanation as EndpointExplanation,
    ExplainedPrediction as ExplainedPrediction,
)
from breedclf.api.profiling import ProfilingSession as ProfilingSession
from breedclf.api.trainer import Trainer as Trainer
from breedclf.api.transform import TransformResult as TransformResult
from breedclf.api.tuning import TuningJob as TuningJob
from breedclf.backbones.compare import compare_backbones as compare_backbones
from breedclf.backbones.comparison import (
    BackboneComparison as BackboneComparison,
    ComparedBackbone as ComparedBackbone,
)
from breedclf.backends.inline import InlineBackend as InlineBackend
from breedclf.backends.local.backend import LocalBackend as LocalBackend
from breedclf.backends.sagemaker.backend import SageMakerBackend as SageMakerBackend
from breedclf.backends.sagemaker.dataset import S3Dataset as S3Dataset
from breedclf.backends.sagemaker.settings import SageMakerSettings as SageMakerSettings
from breedclf.config import (
    EvaluationConfig as EvaluationConfig,
    TrainingConfig as TrainingConfig,
)
from breedclf.data.adapters.arrays import from_arrays as from_arrays
from breedclf.data.adapters.hugging_face import from_hugging_face as from_hugging_face
from breedclf.data.adapters.torch_dataset import from_torch_dataset as from_torch_dataset
from breedclf.data.labeled_images import LabeledImages as LabeledImages
from breedclf.data.write_folder import write_image_folder as write_image_folder
from breedclf.data_check import (
    DatasetCheck as DatasetCheck,
    Problem as Problem,
    check as check,
)
from breedclf.errors import (
    ArtifactError as ArtifactError,
    BreedclfError as BreedclfError,
    ConfigError as ConfigError,
    DataError as DataError,
    DemoError as DemoError,
    DiskError as DiskError,
    DownloadError as DownloadError,
    EndpointError as EndpointError,
    ExportError as ExportError,
    ForkError as ForkError,
    GateError as GateError,
    ImageError as ImageError,
    ImageTooCostlyError as ImageTooCostlyError,
    ImageTooLargeError as ImageTooLargeError,
    JobError as JobError,
    JobFailedError as JobFailedError,
    JobTimeoutError as JobTimeoutError,
    MissingExtraError as MissingExtraError,
    ModelError as ModelError,
    ParityError as ParityError,
    ProfileError as ProfileError,
    PublishError as PublishError,
    TrainingError as TrainingError,
    TrainingStoppedError as TrainingStoppedError,
    WeightsError as WeightsError,
)
from breedclf.evaluation.evaluate import evaluate as evaluate
from breedclf.evaluation.metrics import (
    ClassResult as ClassResult,
    Evaluation as Evaluation,
)
from breedclf.evaluation.model_card import model_card as model_card
from breedclf.explanations.explainer import Explainer as Explainer
from breedclf.explanations.explanation import Explanation as Explanation
from breedclf.exporting.comparison import Comparison as Comparison
from breedclf.exporting.export import (
    Export as Export,
    export as export,
)
from breedclf.features.progress import FeatureProgress as FeatureProgress
from breedclf.features.stored_pass import FeatureCounts as FeatureCounts
from breedclf.inference.classifier import Classifier as Classifier
from breedclf.inference.prediction import (
    Prediction as Prediction,
    RankedClass as RankedClass,
)
from breedclf.jobs import (
    Backend as Backend,
    JobDescription as JobDescription,
    JobSpec as JobSpec,
    JobStatus as JobStatus,
    MetricRecord as MetricRecord,
    SecondaryStatus as SecondaryStatus,
    Transition as Transition,
)
from breedclf.jobs.endpoints import (
    EndpointDescription as EndpointDescription,
    EndpointStatus as EndpointStatus,
    ServingBackend as ServingBackend,
)
from breedclf.jobs.handle import Job as Job
from breedclf.jobs.metric_lines import MetricDefinition as MetricDefinition
from breedclf.jobs.plan import Plan as Plan
from breedclf.journey.journey import Journey as Journey
from breedclf.journey.plan import JourneyPlan as JourneyPlan
from breedclf.journey.result import JourneyResult as JourneyResult
from breedclf.journey.settings import JourneySettings as JourneySettings
from breedclf.label_review.result import (
    NearDuplicates as NearDuplicates,
    Neighbor as Neighbor,
    Outlier as Outlier,
    Review as Review,
    Suspect as Suspect,
    TwinEffect as TwinEffect,
)
from breedclf.label_review.review import review as review
from breedclf.loggers.mlflow import MLflowLogger as MLflowLogger
from breedclf.loggers.tensorboard import TensorBoardLogger as TensorBoardLogger
from breedclf.model_store.compare import compare_models as compare_models
from breedclf.model_store.comparison import ModelComparison as ModelComparison
from breedclf.model_store.gate import (
    Gate as Gate,
    GateCheck as GateCheck,
)
from breedclf.model_store.hub import push_to_hub as push_to_hub
from breedclf.model_store.records import (
    Lineage as Lineage,
    ModelRecord as ModelRecord,
    ModelVersion as ModelVersion,
)
from breedclf.model_store.store import ModelStore as ModelStore
from breedclf.profiling.foreign import ForeignLoop as ForeignLoop
from breedclf.profiling.profile import Profile as Profile
from breedclf.profiling.rules import Finding as Finding
from breedclf.profiling.verified import Verification as Verification
from breedclf.training.hooks import TrainingHook as TrainingHook
from breedclf.training.lr_finder import LearningRateCurve as LearningRateCurve
from breedclf.training.records import (
    BeforeTraining as BeforeTraining,
    EpochRecord as EpochRecord,
    StepRecord as StepRecord,
    TrainingPlan as TrainingPlan,
)
from breedclf.training.results.result import FitResult as FitResult
from breedclf.training.valid_predictions import ValidPredictions as ValidPredictions
from breedclf.tuning.confirmation import (
    Confirmation as Confirmation,
    ConfirmedTrial as ConfirmedTrial,
)
from breedclf.tuning.space import (
    Categorical as Categorical,
    Continuous as Continuous,
    Integer as Integer,
    ParameterRange as ParameterRange,
)
from breedclf.tuning.study import Study as Study
from breedclf.tuning.trials import (
    SeedRun as SeedRun,
    Trial as Trial,
)
