"""What all backends share: a job's folder, source bundle, container environment and archives."""
