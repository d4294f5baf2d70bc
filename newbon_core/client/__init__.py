"""The typed HTTP client that the CLI, the agent and users' programs share.

``Client`` is for people and their programs, ``AgentClient`` for a node's agent. Both keep connections, verify TLS, and
raise only ``ClientError``: ``ApiProblem`` (the server refused) or ``ServerUnreachable``. Tokens are never logged.
"""

from newbon_core.client.agent import AgentClient, OrdersStream, join
from newbon_core.client.api import Client
from newbon_core.client.errors import ApiProblem, ClientError, ServerUnreachable
from newbon_core.client.sessions import ExecSession
from newbon_core.client.watch import Watch, WatchEvent

__all__ = [
    "AgentClient",
    "ApiProblem",
    "Client",
    "ClientError",
    "ExecSession",
    "OrdersStream",
    "ServerUnreachable",
    "Watch",
    "WatchEvent",
    "join",
]
