"""The server's main: opens the store, feeds the cache, runs the control loop, serves the API."""

from newbon_core.server.running import RunningServer, ServerError, main, run_server
from newbon_core.server.tokens import ADMIN_TOKEN_FILE, ensure_admin_token

__all__ = ["ADMIN_TOKEN_FILE", "RunningServer", "ServerError", "ensure_admin_token", "main", "run_server"]
