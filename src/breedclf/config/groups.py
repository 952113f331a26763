"""The groups in which help shows the settings: what people change first, then everything else by subject."""

from __future__ import annotations

TRAINING_GROUPS: dict[str, tuple[str, ...]] = {
    "common settings": (
        "architecture",
        "weights",
        "accept_license",
        "start_from",
        "freeze",
        "epochs",
        "batch_size",
        "learning_rate",
        "augment",
        "on_bad_image",
        "seed",
        "device",
        "output",
        "resume",
    ),
    "optimization": (
        "optimizer",
        "momentum",
        "weight_decay",
        "schedule",
        "warmup_epochs",
        "backbone_learning_rate",
        "layer_decay",
        "clip_norm",
        "ema",
        "patience",
        "objective",
    ),
    "loss and head": (
        "head",
        "batch_norm",
        "loss",
        "label_smoothing",
        "class_weights",
        "mixup",
    ),
    "probabilities and unknown images": ("calibration", "feature_bank", "min_confidence"),
    "data": (
        "labels",
        "valid_share",
        "test_share",
        "split_seed",
        "sampler",
        "views",
        "view_seed",
        "dct_scaling",
        "device_decoding",
    ),
    "caches": ("feature_cache", "feature_store", "decoded_cache", "verify_files", "cache_dir"),
    "speed and memory": (
        "precision",
        "engine",
        "max_accuracy_drop",
        "workers",
        "chunk_size",
        "gradient_accumulation_steps",
        "activation_checkpointing",
        "pin_memory",
        "channels_last",
        "compile_network",
        "deterministic",
    ),
    "records and logging": ("checkpoints", "metrics", "profile", "log_to", "mlflow_uri", "mlflow_experiment"),
}
FEATURE_REUSE_GROUPS: dict[str, tuple[str, ...]] = {
    "caches": ("feature_cache", "feature_store", "verify_files", "cache_dir")
}
PREDICTION_GROUPS: dict[str, tuple[str, ...]] = {"prediction": ("tta", "coverage"), **FEATURE_REUSE_GROUPS}
EVALUATION_GROUPS: dict[str, tuple[str, ...]] = {
    "evaluation": ("split", "labels", "unlike", "output", "on_bad_image", "tta", "explain", "coverage"),
    **FEATURE_REUSE_GROUPS,
    "speed and memory": ("device", "precision", "batch_size", "workers"),
}
