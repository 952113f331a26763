"""SageMaker pipelines in the emulator."""
