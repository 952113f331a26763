"""What plays a container of SageMaker's: scripts of the standard library alone, started by the job's interpreter."""
