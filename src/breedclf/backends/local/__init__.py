"""Jobs in supervised processes on this machine."""
