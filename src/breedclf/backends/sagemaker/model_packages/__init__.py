"""The SageMaker Model Registry: versions of models as model packages."""
