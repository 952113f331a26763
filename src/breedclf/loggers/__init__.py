"""Loggers for TensorBoard and MLflow; their failures never stop a training run."""
