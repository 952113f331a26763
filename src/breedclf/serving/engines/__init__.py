"""The engines that compute predictions: torch and OpenVINO."""
