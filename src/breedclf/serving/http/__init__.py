"""The HTTP layer of serving: the ASGI application, request bodies, connections, access control."""
