"""The files that other programs read: Compose, Docker and Prometheus; what they name is there."""

import re
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from actors.settings import Settings
from migrations import Login

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
#: Variables of the compose file itself, for whoever calls it; of `rayquiz` and `rayquiz migrate roles`.
OF_COMPOSE = {"RAYQUIZ_PORT", "RAYQUIZ_BIND"}
OF_COMMANDS = {
    "RAYQUIZ_SECRETS_DIR",
    "RAYQUIZ_ADMIN_URL",
    "RAYQUIZ_OWNER_URL",
    "RAYQUIZ_STANDBY_URL",
}
#: What each service may know; `secrets` makes them all.
FILES = {
    "postgres": {"password"},
    "standby": {"password"},
    "roles": {f"RAYQUIZ_{name}_URL" for name in ("ADMIN", "OWNER", "DATABASE", "STANDBY")},
    "migrator": {"password", "RAYQUIZ_DATABASE_URL"},
    "valkey": {"password", "valkey.conf"},
    "rabbitmq": {"password"},
    "rayquiz": {
        "password",
        "RAYQUIZ_DATABASE_URL",
        "RAYQUIZ_REPLICA_URLS",
        "RAYQUIZ_REDIS_URL",
        "RAYQUIZ_RABBITMQ_URL",
    },
}


@pytest.fixture
def make_secrets(tmp_path):
    """Run the script that Compose runs; the files that there are then, with what they say."""
    script = COMPOSE["configs"]["make-secrets"]["content"].replace("$$", "$")
    script = script.replace("cd /secrets", f"cd {tmp_path}")
    for service in FILES:
        (tmp_path / service).mkdir()

    def make():
        subprocess.run(["sh", "-c", script], check=True)
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        return {str(path.relative_to(tmp_path)): path.read_text().strip() for path in files}

    return make


def test_compose_sets_what_the_services_read_and_nothing_else():
    set_there = set(COMPOSE["services"]["rayquiz"]["environment"]) | FILES["rayquiz"]
    fields = {f"RAYQUIZ_{name.upper()}" for name in Settings.model_fields}
    assert set_there <= fields | OF_COMMANDS | {"password"}
    # The keys are made at the first start.
    required = {f"RAYQUIZ_{n.upper()}" for n, f in Settings.model_fields.items() if f.is_required()}
    assert required - set_there == {"RAYQUIZ_SECRET"}
    named = set(re.findall(r"RAYQUIZ_\w+", (ROOT / "docker-compose.yml").read_text("utf-8")))
    assert named <= fields | OF_COMPOSE | OF_COMMANDS


def test_passwords_are_made_once_and_each_service_sees_its_own(make_secrets, tmp_path):
    made = make_secrets()
    assert set(made) == {f"{service}/{name}" for service in FILES for name in FILES[service]}
    passwords = {text for name, text in made.items() if name.endswith("/password")}
    assert len(passwords) == 6
    assert all(len(password) >= 32 for password in passwords)
    assert make_secrets() == made
    # A start that was broken off: what was made stays, what is missing is made.
    (tmp_path / "valkey" / "password").unlink()
    (tmp_path / "rayquiz" / "RAYQUIZ_REDIS_URL").unlink()
    again = make_secrets()
    assert {name for name in made if made[name] != again[name]} == {
        "valkey/password",
        "valkey/valkey.conf",
        "rayquiz/RAYQUIZ_REDIS_URL",
    }
    for service in FILES:
        mounted = [
            one for one in COMPOSE["services"][service]["volumes"] if one.startswith("secrets-")
        ]
        assert mounted == [f"secrets-{service}:/run/rayquiz-secrets:ro"]


def test_the_made_addresses_fit_together_and_no_service_is_a_superuser(make_secrets):
    made = make_secrets()
    for service in ("migrator", "rayquiz"):
        url = urlsplit(made[f"{service}/RAYQUIZ_DATABASE_URL"])
        assert url.username != "postgres"
        assert url.password == made[f"{service}/password"]
    assert made["roles/RAYQUIZ_OWNER_URL"] == made["migrator/RAYQUIZ_DATABASE_URL"]
    assert made["roles/RAYQUIZ_DATABASE_URL"] == made["rayquiz/RAYQUIZ_DATABASE_URL"]
    assert urlsplit(made["rayquiz/RAYQUIZ_REDIS_URL"]).password == made["valkey/password"]
    assert made["valkey/valkey.conf"] == f"requirepass {made['valkey/password']}"
    assert urlsplit(made["rayquiz/RAYQUIZ_RABBITMQ_URL"]).password == made["rabbitmq/password"]
    assert urlsplit(made["roles/RAYQUIZ_STANDBY_URL"]).password == made["standby/password"]
    assert "postgres" not in Login.of(made["rayquiz/RAYQUIZ_REPLICA_URLS"])


def test_the_servers_have_a_network_of_their_own():
    assert COMPOSE["networks"]["servers"] == {"internal": True}
    for name, service in COMPOSE["services"].items():
        expected = {"rayquiz": ["servers", "front"], "secrets": None}.get(name, ["servers"])
        assert service.get("networks") == expected
    assert COMPOSE["services"]["secrets"]["network_mode"] == "none"


def test_every_service_waits_for_those_it_needs():
    services = COMPOSE["services"]
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
    reached, following = set(), {"rayquiz"}
    while following:
        reached |= following
        following = {
            o for name in following for o in services[name].get("depends_on", {})
        } - reached
    assert reached == set(services)


def test_only_the_front_is_published_and_on_this_machine_only_unless_it_is_asked_for():
    published = {name: one["ports"] for name, one in COMPOSE["services"].items() if "ports" in one}
    assert published == {"rayquiz": ["${RAYQUIZ_BIND:-127.0.0.1}:${RAYQUIZ_PORT:-8000}:8000"]}


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
