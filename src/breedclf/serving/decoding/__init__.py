"""Images of requests, decoded in threads or in a process that can be killed."""
