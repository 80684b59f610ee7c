"""Stands in for the HAProxy program: corrects the configuration that Serve wrote, then becomes it.

Serve's template binds HAProxy's statistics and metrics to every interface, and no setting says
otherwise; and Serve ties the replicas' address to the front's, so that phones in the same network
could only be let in by opening the replicas too. And it has HAProxy answer 500, which tells clients
not to try again, where no replica can be reached for the moment. And it tells replicas nothing of
where a request came from. And it lets a client hold as many connections as it likes, each for an hour.
And it lists its routes to anybody, and has no address that is for Prometheus alone.
A few lines decide.

:func:`confine` is for one machine alone. The other corrections are for every HAProxy that clients can
reach, in a cluster, too.

Run as a script, by Serve, through the small file that :func:`install` writes; standard library
only, because it starts once for every change of replicas.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1
_ERROR_FILE = re.compile(r"^(\s*errorfile\s+\d+\s+)\S+", re.MULTILINE)
_DEFAULTS = re.compile(r"^defaults\b.*$", re.MULTILINE)
_FRONT = re.compile(r"^frontend http_frontend$", re.MULTILINE)
_CLIENT_TIMEOUT = re.compile(
    r"^\s*timeout (client|client-fin|http-request|http-keep-alive|tunnel) .*\n", re.MULTILINE
)
_API = re.compile(r"^\s*acl is_(\S+) path_beg /api/\s*$", re.MULTILINE)
#: Says to replicas through which door a request came; only this program's own front sets it.
DOOR_HEADER = "x-rayquiz-door"
#: What HAProxy counts for each address: connections, refused websockets, and those that were handed on.
_COUNTED = "conn_cur,conn_rate(10s),gpc0,gpc0_rate(10s),gpc1,gpc1_rate(1s)"
_BIND = re.compile(r"^(\s*bind\s+)(\S*):(\d+)(?!\S)", re.MULTILINE)


class ClientBounds(NamedTuple):
    """What one client may take of HAProxy.

    Attributes:
        request_ms: time for a request's line and headers, and for its body as far as HAProxy's buffer
            takes it (some 15 KB); also for the first byte of a connection.
        keep_alive_ms: how long a connection may be idle between two requests.
        silence_ms: how long a client may neither send nor take what is due.
        tunnel_ms: the same for websockets, which are pinged.
        connections_max: open connections of one address (an IPv6 one: its /64).
        connections_per_10_s_max: new connections of one address within ten seconds.
        strangers_10_s_max: websockets of one address that replicas refuse (429) within ten seconds; an
            address of which more were refused is a stranger.
        strangers_per_s_max: websockets of a stranger that are handed on within a second.
        strangers_held_ms: how long further ones wait until they are refused.
        trusted: addresses and networks of proxies in front, which are many clients each: only the
            times hold for them. They have to bound what one client may take themselves.
    """

    request_ms: int
    keep_alive_ms: int
    silence_ms: int
    tunnel_ms: int
    connections_max: int
    connections_per_10_s_max: int
    strangers_10_s_max: int
    strangers_per_s_max: int
    strangers_held_ms: int
    trusted: tuple[str, ...] = ()


def install(
    folder: Path,
    binary: Path,
    front_port: int,
    front_host: str,
    away: bytes,
    bounds: ClientBounds,
    metrics: tuple[str, int] = ("127.0.0.1", 0),
) -> Path:
    """Write the program that Serve starts in the place of HAProxy; return its path.

    Args:
        folder: where to write it.
        binary: the real HAProxy.
        front_port: the port that people connect to.
        front_host: where that port listens; every other port listens on loopback.
        away: the whole HTTP response of HAProxy when no replica can be reached, or none answers.
        bounds: what one client may take.
        metrics: address and port at which Prometheus finds the metrics; port 0: nowhere.
    """
    away_path = folder / "away.http"
    away_path.write_bytes(away)
    where = [front_host, str(front_port), str(away_path), json.dumps(bounds), json.dumps(metrics)]
    script = [sys.executable, "-IS", __file__, str(binary), *where]
    path = folder / "haproxy"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(script)} "$@"\n')
    path.chmod(0o700)
    return path


def excuse(config: str, away: Path) -> str:
    """The configuration with another response in the place of each error of HAProxy's own.

    >>> excuse("    errorfile 503 /tmp/500.http", Path("/tmp/away.http"))
    '    errorfile 503 /tmp/away.http'
    """
    return _ERROR_FILE.sub(lambda match: f"{match[1]}{away}", config)


def name_clients(config: str) -> str:
    r"""The configuration with the client's address appended to each request's ``X-Forwarded-For``.

    What the client wrote there stays to the left of it; ``serve_app.client_address`` reads from the
    right.

    >>> name_clients("defaults\n    mode http")
    'defaults\n    option forwardfor\n    mode http'
    """
    return _DEFAULTS.sub(lambda match: f"{match[0]}\n    option forwardfor", config)


def bound_clients(config: str, bounds: ClientBounds) -> str:
    """The configuration with bounds on what one client may take.

    A request is handed on when it is whole, or fills HAProxy's buffer, so a replica never waits for a
    small body. A replica refuses websockets of an address whose sockets say no hello; once it has refused
    many, most of them are refused here, where that costs less. HTTP/2, which would let one connection be
    a hundred, is spoken by whatever ends TLS in front, if anything does.
    """
    times = f"""
    timeout http-request {bounds.request_ms}ms
    timeout http-keep-alive {bounds.keep_alive_ms}ms
    timeout client {bounds.silence_ms}ms
    timeout client-fin {bounds.request_ms}ms
    timeout tunnel {bounds.tunnel_ms}ms
    timeout tarpit {bounds.strangers_held_ms}ms
    option http-buffer-request
    option disable-h2-upgrade"""
    accepted = f"""
    tcp-request connection accept if {{ src {" ".join(bounds.trusted)} }}"""
    counted = f"""
    stick-table type ipv6 size 100k expire 1m store {_COUNTED}{accepted * bool(bounds.trusted)}
    tcp-request connection track-sc0 src,ipmask(32,64)
    tcp-request connection reject if {{ sc0_conn_cur gt {bounds.connections_max} }}
    tcp-request connection reject if {{ sc0_conn_rate gt {bounds.connections_per_10_s_max} }}
    http-request set-var(txn.rayquiz_upgrade) bool(true) if {{ req.hdr(upgrade) -i websocket }}
    acl rayquiz_upgrade var(txn.rayquiz_upgrade) -m bool
    acl rayquiz_stranger sc0_gpc0_rate gt {bounds.strangers_10_s_max}
    acl rayquiz_too_often sc0_gpc1_rate ge {bounds.strangers_per_s_max}
    http-request set-log-level silent if rayquiz_upgrade rayquiz_stranger rayquiz_too_often
    http-request tarpit deny_status 429 if rayquiz_upgrade rayquiz_stranger rayquiz_too_often
    http-request sc-inc-gpc1(0) if rayquiz_upgrade
    http-response sc-inc-gpc0(0) if rayquiz_upgrade {{ status 429 }}"""
    config = _CLIENT_TIMEOUT.sub("", config)
    config = _DEFAULTS.sub(lambda match: match[0] + times, config)
    return _FRONT.sub(lambda match: match[0] + counted, config)


def close_doors(config: str) -> str:
    r"""The configuration with a front that says nothing about the machine behind it.

    Serve would list its routes there; and the header by which replicas know who asks for metrics is
    taken off every request.

    >>> print(close_doors("frontend http_frontend\n    mode http"))
    frontend http_frontend
        http-request del-header x-rayquiz-door
        http-request return status 404 if { path -i -m beg /-/routes }
        mode http
    """
    rules = (
        f"    http-request del-header {DOOR_HEADER}",
        "    http-request return status 404 if { path -i -m beg /-/routes }",
    )
    return _FRONT.sub(lambda match: "\n".join((match[0], *rules)), config)


def open_metrics(config: str, host: str, port: int) -> str:
    """The configuration with an address for Prometheus, once there is an API that it leads to."""
    api = _API.search(config)
    if api is None or not port:
        return config
    lines = (
        "frontend rayquiz_metrics",
        f"    bind {host}:{port}",
        "    mode http",
        "    no log",
        "    http-request return status 404 unless { path /metrics }",
        f"    http-request set-header {DOOR_HEADER} metrics",
        "    http-request set-path /api/metrics",
        f"    default_backend {api[1]}",
    )
    return config.rstrip("\n") + "\n" + "\n".join(lines) + "\n"


def confine(config: str, front_port: int, front_host: str) -> str:
    """The configuration with every ``bind`` on loopback, but the front's where it is wanted.

    >>> confine("  bind *:8404", 8000, "0.0.0.0")
    '  bind 127.0.0.1:8404'
    >>> confine("  bind 127.0.0.1:8000", 8000, "0.0.0.0")
    '  bind 0.0.0.0:8000'
    >>> confine("  bind [::]:9000 proto h2", 8000, "0.0.0.0")
    '  bind 127.0.0.1:9000 proto h2'
    """

    def place(match: re.Match[str]) -> str:
        host = front_host if int(match[3]) == front_port else "127.0.0.1"
        return f"{match[1]}{host}:{match[3]}"

    return _BIND.sub(place, config)


def main(argv: list[str]) -> None:
    """Correct the file after ``-f``, then become HAProxy with the arguments that Serve gave.

    The path stays the same, since Serve finds its HAProxy processes by it, and so does the process.
    """
    _, binary, front_host, front_port, away, bounds, metrics, *arguments = argv
    if "-f" in arguments:
        path = Path(arguments[arguments.index("-f") + 1])
        config = confine(path.read_text(), int(front_port), front_host)
        config = bound_clients(config, ClientBounds(*json.loads(bounds)))
        config = close_doors(name_clients(excuse(config, Path(away))))
        path.write_text(open_metrics(config, *json.loads(metrics)))
    # Serve leaves HAProxy running when its own process is killed; the next start would find the
    # port taken.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.execv(binary, [binary, *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv)
