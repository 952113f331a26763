"""The HTTP side of serving: the ASGI application, request bodies, connections, access."""
