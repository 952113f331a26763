"""Tuning jobs on SageMaker, and the SageMaker SDK's tuner."""
