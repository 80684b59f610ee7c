"""The Serve applications: api, notificator, pages. One definition for every way to run.

``rayquiz up`` deploys them on one machine (:mod:`serve_app.deploy`). In a cluster, RayService imports
them by the paths that its ``serveConfigV2`` names, ``serve_app.applications:api`` and its like, and sets
there what Serve scales.

Serve looks at the type of a builder's argument itself, so annotations are no strings in this module.
"""

import os
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp

from actors.logs import install_logs
from actors.settings import Settings
from actors.supervisor import supervisor
from engine import limits
from serve_app.embedded.loopback import confine_replica
from serve_app.read_ahead import bound_read_ahead
from serve_app.safe_headers import SafeHeaders

#: CPUs that one replica asks for, where ``serveConfigV2`` says nothing else: little, because on one machine
#: all share the same two.
_REPLICA_CPUS = 0.1
#: Requests of one HTTP replica that may be under way; each answer waits for its commit.
_HTTP_ONGOING_MAX = 10_000
#: A websocket holds one of these for its whole life; our own limit, with a close code of its own,
#: lies below.
_SOCKETS_ONGOING_MAX = 2 * limits.CONNECTIONS_PER_REPLICA_MAX
#: Seconds that a replica may take to go; must be longer than Serve's draining period.
_SHUTDOWN_S = 20.0
#: Seconds between two looks at a replica. Serve finds out by these alone that one was killed: with its
#: own 10 s, a thousand people may wait so long before another one even starts.
_HEALTH_CHECK_S = 1.0


class Scale(BaseModel):
    """What an application's builder is told, ``args`` in ``serveConfigV2``."""

    model_config = ConfigDict(extra="forbid")

    replicas: Annotated[int, Field(ge=1, le=100)] = 1


def api(scale: Scale) -> serve.Application:
    """The HTTP API, for the route prefix ``/api``."""
    return application(_api, "api", scale.replicas, _HTTP_ONGOING_MAX)


def notificator(scale: Scale) -> serve.Application:
    """The websockets of players, hosts and boards, for the route prefix ``/ws``."""
    return application(_notificator, "notificator", scale.replicas, _SOCKETS_ONGOING_MAX)


def pages(scale: Scale) -> serve.Application:
    """The pages and their files, for the route prefix ``/``."""
    return application(_pages, "pages", scale.replicas, _HTTP_ONGOING_MAX)


def _api() -> ASGIApp:
    from serve_app.api.app import create_api_app  # noqa: PLC0415 - in the replica's process

    # On a cluster nobody logs in to start it; it exists once, however many replicas ask.
    supervisor(Settings.from_env().ray_namespace)
    return create_api_app()


def _notificator() -> ASGIApp:
    from serve_app.client_address import ClientAddresses  # noqa: PLC0415
    from serve_app.notificator import create_notificator_app  # noqa: PLC0415
    from serve_app.websocket.uvicorn_picows import install  # noqa: PLC0415

    # Before the replica's server starts: Serve builds the application first (pinned by
    # tests/acceptance/test_websocket.py).
    install(ClientAddresses(Settings.from_env().proxies))
    return create_notificator_app()


def _pages() -> ASGIApp:
    from serve_app.pages.app import create_pages_app  # noqa: PLC0415

    settings = Settings.from_env()
    return create_pages_app(settings.public_url, settings.pin_style, settings.proxies)


def application(
    build: Callable[[], ASGIApp], name: str, replicas: int, ongoing_max: int
) -> serve.Application:
    """A Serve application of one deployment around an ASGI application built in the replica."""

    def build_here() -> ASGIApp:
        install_logs()
        # uvicorn, whose server comes next, would put what a header says in the place of the peer's
        # address; serve_app.client_address decides which header is believed.
        os.environ["FORWARDED_ALLOW_IPS"] = ""
        confine_replica()
        bound_read_ahead()
        return SafeHeaders(build())

    @serve.deployment(
        name=name,
        num_replicas=replicas,
        max_ongoing_requests=ongoing_max,
        graceful_shutdown_timeout_s=_SHUTDOWN_S,
        health_check_period_s=_HEALTH_CHECK_S,
        ray_actor_options={"num_cpus": _REPLICA_CPUS},
        logging_config=LoggingConfig(log_level="WARNING", enable_access_log=False),
    )
    @serve.ingress(build_here)
    class Service:
        pass

    deployment: Any = Service  # the decorators make it one, and are not typed
    bound: serve.Application = deployment.bind()
    return bound
