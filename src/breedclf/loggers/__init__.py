"""Loggers of a training for TensorBoard and MLflow; what goes wrong with one never costs the training."""
