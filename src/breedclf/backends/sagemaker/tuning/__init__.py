"""Tuning jobs on SageMaker: requests, children, and the SDK's own tuner."""
