"""Training jobs on SageMaker: requests, inputs, logs, results."""
