"""smdebug, SageMaker Debugger's own library, beside breedclf: an extra in an environment of its own."""
