from breedclf.config.base import (
    Settings as Settings,
    nearest as nearest,
)
from breedclf.config.choices import (
    LOGGER_NAMES as LOGGER_NAMES,
    WEIGHTS_NAMES as WEIGHTS_NAMES,
    Architecture as Architecture,
    Augment as Augment,
    BatchNorm as BatchNorm,
    ClassWeights as ClassWeights,
    Device as Device,
    Engine as Engine,
    Freeze as Freeze,
    Head as Head,
    Objective as Objective,
    OnBadImage as OnBadImage,
    OptimizerName as OptimizerName,
    Precision as Precision,
    Profiling as Profiling,
    Schedule as Schedule,
    TrainingPrecision as TrainingPrecision,
    weights_name as weights_name,
)
from breedclf.config.environment import ENVIRONMENT_PREFIX as ENVIRONMENT_PREFIX
from breedclf.config.evaluation import EvaluationConfig as EvaluationConfig
from breedclf.config.files import read_settings as read_settings
from breedclf.config.hyperparameters import (
    MAX_HYPERPARAMETER_CHARS as MAX_HYPERPARAMETER_CHARS,
    MAX_HYPERPARAMETERS as MAX_HYPERPARAMETERS,
)
from breedclf.config.training import TrainingConfig as TrainingConfig
