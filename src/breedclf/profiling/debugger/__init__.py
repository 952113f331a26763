"""Support for smdebug, SageMaker Debugger's library: an extra that needs an environment of its own."""
