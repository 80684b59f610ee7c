"""HAProxy's configuration is confined to loopback, and its process to its parent's life."""

import doctest
import os
import re
import signal
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import jinja2
import psutil
import pytest

from serve_app.embedded import haproxy_wrapper
from serve_app.embedded.haproxy_wrapper import (
    ClientBounds,
    bound_clients,
    close_doors,
    confine,
    excuse,
    install,
    name_clients,
    open_metrics,
)

BOUNDS = ClientBounds(
    request_ms=10_000,
    keep_alive_ms=20_000,
    silence_ms=30_000,
    tunnel_ms=300_000,
    connections_max=6_000,
    connections_per_10_s_max=5_000,
    strangers_10_s_max=20,
    strangers_per_s_max=4,
    strangers_held_ms=3_000,
    trusted=("192.0.2.7", "2001:db8::/32"),
)
CONFIG = """\
global
    stats socket /tmp/admin.sock mode 666 level admin
defaults
    mode http
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind 127.0.0.1:8000
frontend grpc_frontend
    bind [::]:9000 proto h2
listen stats
  bind *:8404
"""


def binds(config):
    return re.findall(r"^\s*bind (.*)$", config, re.MULTILINE)


def test_the_examples_hold():
    assert doctest.testmod(haproxy_wrapper).failed == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_only_the_front_leaves_loopback_and_only_when_asked(host):
    confined = confine(CONFIG, 8000, host)
    assert binds(confined) == [
        "127.0.0.1:9101",
        f"{host}:8000",
        "127.0.0.1:9000 proto h2",
        "127.0.0.1:8404",
    ]
    others = [line for line in CONFIG.splitlines() if "bind" not in line]
    assert [line for line in confined.splitlines() if "bind" not in line] == others


def test_every_bind_of_serves_own_template_is_understood():
    folder = Path(find_spec("ray").submodule_search_locations[0]) / "serve" / "_private"
    template = (folder / "haproxy_templates.py").read_text()
    filled = re.sub(r"\{\{[^}]*port[^}]*\}\}", "9999", template)
    filled = re.sub(r"\{\{[^}]*host[^}]*\}\}", "0.0.0.0", filled)
    places = binds(confine(filled, 8000, "127.0.0.1"))
    assert len(places) >= 3
    assert all(re.match(r"127\.0\.0\.1:9999\b", place) for place in places), places


def test_every_error_of_serves_own_template_is_excused():
    folder = Path(find_spec("ray").submodule_search_locations[0]) / "serve" / "_private"
    template = (folder / "haproxy_templates.py").read_text()
    filled = template.replace("{{ config.error_file_path }}", "/tmp/500.http")
    errors = re.findall(r"^\s*errorfile (.*)$", excuse(filled, Path("/a/way")), re.MULTILINE)
    assert errors == [f"{status} /a/way" for status in (502, 503, 504)]


def test_serves_own_template_names_no_clients_but_ours_does():
    folder = Path(find_spec("ray").submodule_search_locations[0]) / "serve" / "_private"
    template = (folder / "haproxy_templates.py").read_text()
    assert "forwardfor" not in template
    assert name_clients(template).count("\ndefaults\n    option forwardfor\n") == 1


def serves_own():
    """A configuration as Serve writes it, with a backend that has times of its own."""
    from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE  # noqa: PLC0415

    environment = jinja2.Environment(undefined=jinja2.ChainableUndefined)
    environment.filters["haproxy_fmt"] = str
    backend = {
        "name": "api",
        "path_prefix": "/api",
        "servers": [{"name": "one", "host": "127.0.0.1", "port": 30_001}],
        "timeout_client_s": 7,
        "timeout_http_request_s": None,
        "timeout_http_keep_alive_s": 7,
        "timeout_tunnel_s": 7,
    }
    config = {
        "timeout_connect_s": 5,
        "timeout_client_s": 3_600,
        "timeout_http_keep_alive_s": 90,
        "timeout_http_request_s": None,
        "frontend_host": "127.0.0.1",
        "frontend_port": 8_000,
    }
    return environment.from_string(HAPROXY_CONFIG_TEMPLATE).render(
        config=config,
        backends=[backend],
        backends_with_health_config=[{"backend": backend, "health_config": {}}],
        grpc_backends_with_health_config=[],
    )


def test_the_times_of_serves_own_template_give_way_to_ours():
    assert re.findall(r"timeout (?:client|http-|tunnel).*", serves_own()) == [
        "timeout client 3600s",
        "timeout http-keep-alive 90s",
        "timeout client 7s",
        "timeout http-keep-alive 7s",
        "timeout tunnel 7s",
    ]
    bounded = bound_clients(serves_own(), BOUNDS)
    assert re.findall(r"timeout (?:client|http-|tunnel).*", bounded) == [
        "timeout http-request 10000ms",
        "timeout http-keep-alive 20000ms",
        "timeout client 30000ms",
        "timeout client-fin 10000ms",
        "timeout tunnel 300000ms",
    ]
    assert "timeout connect 5s" in bounded


@pytest.mark.parametrize("trusted", [BOUNDS.trusted, ()])
def test_clients_of_serves_own_front_are_counted_but_proxies_are_not(trusted):
    config = serves_own()
    assert "stick-table" not in config
    bounded = bound_clients(config, BOUNDS._replace(trusted=trusted))
    _, found, front = bounded.partition("\nfrontend http_frontend\n")
    assert found
    rules = [line.strip() for line in front.split("bind")[0].splitlines()]
    exempt = ["tcp-request connection accept if { src 192.0.2.7 2001:db8::/32 }"]
    assert [rule for rule in rules if rule.startswith("tcp-request")] == [
        *(exempt if trusted else []),
        "tcp-request connection track-sc0 src,ipmask(32,64)",
        "tcp-request connection reject if { sc0_conn_cur gt 6000 }",
        "tcp-request connection reject if { sc0_conn_rate gt 5000 }",
    ]


@pytest.fixture
def stand_in(tmp_path):
    """A program in HAProxy's place that says how it was started."""
    binary = tmp_path / "real haproxy"
    binary.write_text('#!/bin/sh\necho $$\nfor a in "$@"; do echo "$a"; done\n')
    binary.chmod(0o700)
    return binary


def test_the_program_in_haproxys_place_corrects_the_file_and_becomes_haproxy(tmp_path, stand_in):
    config = tmp_path / "a config.cfg"
    config.write_text(CONFIG)
    program = install(tmp_path, stand_in, 8000, "127.0.0.1", b"away", BOUNDS)
    arguments = ["-db", "-f", str(config), "-sf", "12 34"]
    process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=60)
    assert said.splitlines() == [str(process.pid), *arguments]
    confined = confine(CONFIG, 8000, "127.0.0.1")
    assert config.read_text() == close_doors(name_clients(bound_clients(confined, BOUNDS)))


def test_without_a_file_it_is_haproxy_at_once(tmp_path, stand_in):
    program = install(tmp_path, stand_in, 8000, "127.0.0.1", b"away", BOUNDS)
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[1:] == ["-v"]


def test_haproxy_ends_with_the_process_that_started_it(tmp_path):
    program = install(tmp_path, Path("/bin/sleep"), 8000, "127.0.0.1", b"away", BOUNDS)
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""\
                import subprocess, time
                print(subprocess.Popen([{str(program)!r}, "3600"]).pid, flush=True)
                time.sleep(3600)
            """),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        haproxy = psutil.Process(int(parent.stdout.readline()))
        while haproxy.name() != "sleep":  # it is still the shell, or Python
            assert haproxy.is_running()
        os.kill(parent.pid, signal.SIGKILL)
    while haproxy.is_running() and haproxy.status() != psutil.STATUS_ZOMBIE:
        pass


def test_the_doors_of_serves_own_template():
    """The front takes the header off that opens the metrics, and lists nothing."""
    folder = Path(find_spec("ray").submodule_search_locations[0]) / "serve" / "_private"
    template = (folder / "haproxy_templates.py").read_text()
    front = close_doors(template)
    lines = front[front.index("frontend http_frontend") :].splitlines()[1:3]
    assert [line.strip() for line in lines] == [
        "http-request del-header x-rayquiz-door",
        "http-request return status 404 if { path -i -m beg /-/routes }",
    ]
    # What it says of an application's prefix is found, too.
    acl = re.search(r"^ *acl is_\{\{ backend.name.*path_beg.*$", template, re.MULTILINE)[0]
    api = re.sub(r"\{\{ backend.name[^}]*\}\}", "http-api", acl)
    api = re.sub(r"\{\{.*\}\}", "/api/", api)
    opened = open_metrics(f"frontend f\n{api}\n", "127.0.0.1", 9464)
    assert "    bind 127.0.0.1:9464\n" in opened
    assert opened.endswith("    default_backend http-api\n")


def test_no_door_for_prometheus_before_there_is_an_api():
    assert open_metrics(CONFIG, "127.0.0.1", 9464) == CONFIG
