"""How every server of breedclf runs uvicorn: without its logs, its headers and its other protocols."""

from __future__ import annotations

from typing import Any

import uvicorn
from starlette.types import ASGIApp


def quiet_config(app: ASGIApp, *, grace_seconds: int, **settings: Any) -> uvicorn.Config:
    """The configuration of a server that finishes requests within `grace_seconds` of its shutdown.

    Args:
        app: the application.
        grace_seconds: how long open requests may take once the server shuts down.
        settings: more of uvicorn's settings.
    """
    return uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=grace_seconds,
        **settings,
    )
