"""The files that other programs read: Compose, Docker and Prometheus; what they name is there."""

import re
import tomllib
from pathlib import Path

import yaml

from actors.settings import Settings

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
#: Variables of the compose file itself, for whoever calls it.
OF_COMPOSE = {"RAYQUIZ_PORT"}


def test_compose_sets_what_the_services_read_and_nothing_else():
    set_there = set(COMPOSE["services"]["rayquiz"]["environment"])
    fields = {f"RAYQUIZ_{name.upper()}" for name in Settings.model_fields}
    assert set_there <= fields
    # The secret is made at the first start.
    required = {f"RAYQUIZ_{n.upper()}" for n, f in Settings.model_fields.items() if f.is_required()}
    assert required - set_there == {"RAYQUIZ_SECRET"}
    named = set(re.findall(r"RAYQUIZ_\w+", (ROOT / "docker-compose.yml").read_text("utf-8")))
    assert named <= fields | OF_COMPOSE


def test_every_service_waits_for_those_it_needs():
    services = COMPOSE["services"]
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
    assert set(services["rayquiz"]["depends_on"]) == set(services) - {"rayquiz", "postgres"}


def test_only_the_front_is_published():
    published = {name: one["ports"] for name, one in COMPOSE["services"].items() if "ports" in one}
    assert published == {"rayquiz": ["${RAYQUIZ_PORT:-8000}:8000"]}


def test_the_image_has_all_packages_and_the_ignore_file_lets_them_in():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {pattern.removesuffix("*") for pattern in patterns}
    copied = {
        name
        for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE)
        for name in line.split()
    }
    assert packages <= copied
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    assert set(let_in) == copied - {"./"}


def test_alerts_ask_for_metrics_that_there_are():
    rules = yaml.safe_load((ROOT / "docs/alerts.yml").read_text("utf-8"))
    asked = {
        name
        for group in rules["groups"]
        for rule in group["rules"]
        for name in re.findall(r"quiz_\w+", rule["expr"])
    }
    made = {
        name
        for folder in ("actors", "serve_app")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r'"(quiz_\w+)"', path.read_text("utf-8"))
    }
    assert asked
    assert asked <= made
