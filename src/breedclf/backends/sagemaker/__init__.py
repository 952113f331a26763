"""Jobs, searches and endpoints on Amazon SageMaker; needs the extra `breedclf[sagemaker]`."""
