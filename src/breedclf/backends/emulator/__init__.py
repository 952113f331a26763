"""SageMaker's emulator on this machine: its wire protocol over the local backend; needs `breedclf[sagemaker]`."""
