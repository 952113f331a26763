"""The process and the machine: device, threads, DataLoader workers, signals, optional packages."""
