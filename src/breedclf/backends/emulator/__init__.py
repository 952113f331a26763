"""A stand-in for SageMaker on this machine: its wire protocol over the local back end; needs `breedclf[sagemaker]`."""
