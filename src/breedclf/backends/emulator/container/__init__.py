"""Scripts that run in place of SageMaker's containers: standard library only, started by the job's interpreter."""
