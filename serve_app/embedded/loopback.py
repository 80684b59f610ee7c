"""Keeps the last listening socket of a Serve replica on loopback.

Each replica opens a gRPC server for calls between deployments. It takes pickled arguments from
whoever reaches it, and Serve 2.60 binds it to ``[::]`` with no setting for the address
(``ray/serve/_private/replica.py``, ``_on_initialized``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from serve_app.embedded.ray_environment import LOOPBACK_ONLY


def confine_replica() -> None:
    """Call in the replica's process, where the application is built; Serve opens the server later.

    Does nothing in a cluster, where replicas on other nodes must be reached.
    """
    if os.environ.get(LOOPBACK_ONLY) != "0":
        return
    from ray.serve._private import replica  # noqa: PLC0415 - only where replicas run

    names = vars(replica)
    bind: Callable[[Any, str], Any] = names["add_port_to_grpc_server"]

    def bind_on_loopback(server: Any, address: str) -> Any:
        return bind(server, address.replace("[::]", "127.0.0.1"))

    names["add_port_to_grpc_server"] = bind_on_loopback
