"""docker-compose.yml: who can reach what, and that no password and no open door is in it. No engine is needed."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import threading
import time
import tomllib
import urllib.request
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml
from volunteer import free_port

PROJECT = Path(__file__).resolve().parent.parent
FILE = PROJECT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROFILES = ["oracle", "tls", "tools", "volunteer"]
ONCE = {"init", "makeproject", "install", "register", "files"}
OURS = {"init", "install", "validator", "work-generator", "assimilate", "finalize", "set-autoscore", "retention", "viewer"}


def environment_file() -> dict[str, str]:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def mounts(service: str) -> dict[str, str]:
    """Volume or folder of the host by the place where a service sees it."""
    pairs = (re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":") for volume in SERVICES[service].get("volumes", []))
    return {place: source for source, place, *_ in pairs}


def test_the_profiles_are_those_of_the_documentation() -> None:
    assert sorted({profile for service in SERVICES.values() for profile in service.get("profiles", [])}) == PROFILES
    text = (PROJECT / "docs/how-to/compose.md").read_text()
    assert all(f"`{profile}`" in text for profile in PROFILES)


def test_every_variable_is_explained_with_the_default_that_counts() -> None:
    used = dict(re.findall(r"\$\{(\w+):?-([^}]*)\}", FILE.read_text()))
    explained = environment_file()
    assert explained.pop("COMPOSE_PROJECT_NAME") == "crystal-search"
    assert explained == used
    lines = (PROJECT / ".env.example").read_text().splitlines()
    block_is_explained = False
    for line in lines:
        if line.startswith("#"):
            block_is_explained = not line.startswith("# ----")
        elif line:
            assert block_is_explained, f"{line} has no explanation above it"


def test_every_variable_has_a_default() -> None:
    assert not re.findall(r"(?<!\$)\$(?!\$|\{\w+:?-)", FILE.read_text())


def test_only_what_browsers_and_volunteers_reach_is_published_and_by_default_on_this_computer() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "apache": ["${BIND:-127.0.0.1}:${HTTP_PORT:-80}:80"],
        "proxy": ["${TLS_BIND:-127.0.0.1}:${HTTPS_PORT:-443}:443"],
        "viewer": ["${VIEWER_BIND:-127.0.0.1}:${VIEWER_PORT:-8480}:8480"],
    }


def test_databases_and_the_validator_are_on_internal_networks_only() -> None:
    internal = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    for service in ("mysql", "ledger", "validator", "makeproject", "register"):
        assert set(SERVICES[service]["networks"]) <= internal, service
    assert not {name for name, service in SERVICES.items() if "front" in service.get("networks", [])} - {"apache", "proxy", "viewer"}


def test_what_parses_strangers_files_reaches_neither_keys_nor_databases() -> None:
    assert SERVICES["validator"]["networks"] == ["validation"]
    assert {source for source in mounts("validator").values() if not source.startswith("./")} == {"work_units"}


def test_the_signing_key_is_nowhere_on_the_running_server() -> None:
    assert {name for name in SERVICES if "signing_key" in mounts(name).values()} == {"init", "makeproject", "files"}


def test_no_password_stands_in_a_file() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key and not key.endswith("_FILE"):
                assert (key, value) == ("MYSQL_ALLOW_EMPTY_PASSWORD", ""), name
    assert "password" not in " ".join(environment_file().values()).lower()


def test_nobody_gets_the_engines_socket_or_more_rights() -> None:
    assert "docker.sock" not in FILE.read_text()
    assert not any(service.get("privileged") or service.get("cap_add") for service in SERVICES.values())
    for name in OURS:
        service = SERVICES[name]
        assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"]), name
    assert {name for name, service in SERVICES.items() if "user" in service} == {"files"}


def test_what_runs_once_is_not_started_again_and_the_rest_is() -> None:
    assert {name for name, service in SERVICES.items() if service["restart"] == "no"} == ONCE
    assert {service["restart"] for name, service in SERVICES.items() if name not in ONCE} == {"unless-stopped"}


def test_foreign_services_have_a_health_check_and_ours_inherit_one() -> None:
    foreign = set(SERVICES) - OURS - ONCE - {"volunteer"}
    assert foreign == {"mysql", "apache", "ledger", "proxy", "oracle"}
    assert all("test" in SERVICES[name]["healthcheck"] for name in foreign)
    assert "HEALTHCHECK" in (PROJECT / "server/compose/Dockerfile").read_text()


def test_the_services_that_loop_are_asked_where_the_settings_let_them_answer() -> None:
    settings = tomllib.loads((PROJECT / "server/compose/crystal-search.toml").read_text())["services"]
    assert settings["listen"] == "0.0.0.0"
    looping = OURS - {"init", "install", "validator", "viewer"}
    assert settings["ports"].keys() == looping
    for name in looping:
        port = settings["ports"][name]
        assert SERVICES[name]["environment"]["HEALTH_URL"] == f"http://127.0.0.1:{port}/health"
        assert SERVICES[name]["expose"] == [str(port)]
        assert "metrics" in SERVICES[name]["networks"]
    assert {name for name, service in SERVICES.items() if "metrics" in service.get("networks", [])} == looping
    assert COMPOSE["networks"]["metrics"] == {"internal": True}


def test_the_order_of_a_start() -> None:
    once = "service_completed_successfully"
    for later, earlier in [("makeproject", "init"), ("install", "makeproject"), ("register", "install"), ("apache", "register")]:
        assert SERVICES[later]["depends_on"][earlier] == {"condition": once}
    for service in ("makeproject", "apache"):
        assert SERVICES[service]["depends_on"]["mysql"] == {"condition": "service_healthy"}
    for service in ("mysql", "ledger", "validator", "oracle"):
        assert SERVICES[service]["depends_on"]["init"] == {"condition": once}, "its volumes get their owner and its password first"


def test_what_the_services_share_lies_at_the_same_place() -> None:
    for service in ("work-generator", "assimilate", "validator"):
        assert mounts(service)["/srv/crystal-search/work_units"] == "work_units", service
    for service in ("work-generator", "assimilate", "apache", "install"):
        assert mounts(service)["/home/boincadm/project"] == "project", service
    assert mounts("assimilate")["/inbox"] == mounts("apache")["/inbox"] == "inbox"


def test_every_file_of_ours_that_is_mounted_or_copied_exists() -> None:
    for name in SERVICES:
        for place, source in mounts(name).items():
            if source.startswith("./server/"):
                assert (PROJECT / source).exists(), f"{name}: {source}"
            if source == "./server/compose" and "command" in SERVICES[name]:
                script = Path(SERVICES[name]["command"][-1])
                assert (PROJECT / "server/compose" / script.relative_to(place)).is_file(), name
    copied = re.findall(r"server/compose/[\w.]+\.sh", (PROJECT / "server/compose/Dockerfile").read_text())
    assert len(copied) == 5
    assert all(os.access(PROJECT / path, os.X_OK) for path in copied)


def test_every_service_of_ours_calls_a_command_that_there_is() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["entry-points"]["crystal_search.commands"]
    called = {SERVICES[name]["command"][0] for name in OURS - {"init", "install"}}
    assert called <= declared.keys()


def test_every_volume_but_those_for_trying_is_backed_up() -> None:
    kept = {source for source in mounts("files").values() if not source.startswith("./")}
    assert set(COMPOSE["volumes"]) - kept == {"oracle", "volunteer"}


def test_the_image_leaves_out_what_is_not_needed() -> None:
    lines = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    packed = set(tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["include"])
    assert packed <= {line.removeprefix("!") for line in lines}


# ---- with docker compose, without an engine -----------------------------------------------------------------------------


def compose_command() -> list[str]:
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.fail("neither `docker compose` nor docker-compose is installed; on Debian: apt-get install docker-compose")


@pytest.mark.compose
@pytest.mark.parametrize("profiles", [[], *([profile] for profile in PROFILES), PROFILES], ids=lambda names: "+".join(names) or "none")
def test_compose_takes_the_file(profiles: list[str], tmp_path: Path) -> None:
    options = [option for profile in profiles for option in ("--profile", profile)]
    call = [*compose_command(), "--project-directory", str(PROJECT), "-f", str(FILE), "--env-file", str(PROJECT / ".env.example")]
    done = subprocess.run([*call, *options, "config"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)["services"]
    wanted = {name for name, service in SERVICES.items() if not service.get("profiles") or set(service["profiles"]) & set(profiles)}
    assert wanted <= found.keys()
    assert "WARN" not in done.stderr.upper()


def fetch(address: str, context: ssl.SSLContext) -> bytes:
    """What is there; raises ``OSError`` for a handshake that fails and for any status but 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(address, timeout=60) as answer:
        content: bytes = answer.read()
        return content


@pytest.mark.compose
def test_the_proxy_serves_the_labs_certificate_and_answers_its_health_check(tmp_path: Path) -> None:
    """With Debian's Caddy in place of the container's. The health check asks by address, and so without a server's name."""
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.fail("caddy is missing; on Debian or Ubuntu: apt-get install --no-install-recommends caddy")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "certificate.pem"]
    subprocess.run([*make, *files], check=True, capture_output=True)
    (tmp_path / "page").write_text("BOINC")

    class Page(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

    apache = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=apache.serve_forever, daemon=True).start()
    port = free_port()
    text = (PROJECT / "server/compose/Caddyfile").read_text().replace("apache:80", f"127.0.0.1:{apache.server_port}")
    text = re.sub(r"(?m)^(https://.+) \{$", rf"\1:{port} {{", text.replace("/tls/", f"{tmp_path}/"))
    (tmp_path / "Caddyfile").write_text(text.replace("admin off", "admin off\n\tdefault_bind 127.0.0.1"))
    variables = {"GRID_HOST": "localhost", "VIEWER_HOST": "viewer.localhost", "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    call = [caddy, "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    with (tmp_path / "log").open("w") as log:
        proxy = subprocess.Popen(call, cwd=tmp_path, env=variables, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while "serving initial configuration" not in (tmp_path / "log").read_text():
            assert proxy.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        known = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        assert fetch(f"https://localhost:{port}/page", known) == b"BOINC"
        assert SERVICES["proxy"]["healthcheck"]["test"][-1] == "https://127.0.0.1/"
        fetch(f"https://127.0.0.1:{port}/", ssl._create_unverified_context())
    finally:
        proxy.kill()
        proxy.wait()
        apache.shutdown()
        apache.server_close()
