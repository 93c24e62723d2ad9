"""docker-compose.yml and the Dockerfile: what can be said of them without an engine."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy import compose
from tests.deploy.processes import DEPLOY, ROOT
from tests.docs.test_documented import settings_in

SERVICES: dict[str, dict[str, Any]] = compose.load()["services"]
ENDING = {"migrate": "on-failure:5", "manage": "no"}
PROFILES = {"web", "server-worker", "beat", "postgres", "redis", "sftp", "generator"}
SERVER_SETTINGS = settings_in("webgui/config/settings.py") | {"SECRET_KEY"}
WORKER_SETTINGS = settings_in("generator_worker/config.py")
each_service = pytest.mark.parametrize("name", SERVICES)


def test_it_is_a_compose_file() -> None:
    """By the specification's own schema, in which a key that does not exist is an error."""
    schema = json.loads((Path(__file__).parent / "compose.schema.json").read_text())
    checker = jsonschema.Draft7Validator(schema)
    document = compose.load()
    assert [error.message for error in checker.iter_errors(document)] == []
    document["services"]["web"]["helthcheck"] = {}
    assert not checker.is_valid(document)


def test_nothing_runs_without_a_profile_and_generator_runs_alone() -> None:
    by_profile: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for profile in service["profiles"]:
            by_profile.setdefault(profile, set()).add(name)
    assert set(by_profile) == PROFILES | {"manage"}
    assert by_profile["manage"] == {"manage"}
    assert by_profile["generator"] == {"generator"}
    assert "depends_on" not in SERVICES["generator"]
    for profile, names in by_profile.items():
        for name in names:
            # What is needed is in the same profile; what may stand on another machine is optional.
            for other, how in SERVICES[name].get("depends_on", {}).items():
                assert other in names or how.get("required") is False, (profile, name, other)


@each_service
def test_each_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "/tmp" in service["tmpfs"]  # noqa: S108
    assert not {"privileged", "network_mode", "pid", "devices"} & set(service)
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} == set(limits)
    if name == "sftp":  # sshd has to become somebody else; the file says so
        assert service["user"] == "0:0" and "SYS_ADMIN" not in service["cap_add"]
    else:
        user = service["user"].split(":")[0]
        assert user.isdigit() and user != "0"
        assert "cap_add" not in service
        assert user == compose.stages()[service["build"]["target"]].user


@each_service
def test_each_is_looked_after(name: str) -> None:
    service = SERVICES[name]
    assert service["logging"] == {"driver": "local"}
    if name in ENDING:
        assert service["restart"] == ENDING[name]
        return
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries"} <= set(check)


def test_images_are_ours_and_their_base_is_pinned() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, service in SERVICES.items():
        target = service["build"]["target"]
        assert service["image"] == f"stylediffuser/{target}:{version}", name
        assert service["build"]["dockerfile"] == "deploy/Dockerfile"
        assert (ROOT / service["build"]["context"]).resolve() == ROOT
        arguments = set(re.findall(r"^ARG (\w+)", (DEPLOY / "Dockerfile").read_text(), re.M))
        assert set(service["build"]["args"]) <= arguments
    text = (DEPLOY / "Dockerfile").read_text()
    (base,) = re.findall(r"^ARG BASE=(\S+)$", text, re.M)
    assert re.fullmatch(r"debian:12\.\d+-slim", base)
    assert compose.variables()["BASE_IMAGE"] == base
    assert compose.variables()["GENERATOR_BASE_IMAGE"] == base
    known = {"${BASE}", "${GENERATOR_BASE}", *compose.stages()}
    assert {stage.base for stage in compose.stages().values()} <= known


def test_the_dockerfile_is_clean() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    command = [hadolint, "--config", DEPLOY / "hadolint.yaml", DEPLOY / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, stage in compose.stages().items():
        for step in stage.said("RUN"):
            if "apt-get install" in step:
                assert "--no-install-recommends" in step and "rm -rf /var/lib/apt/lists/*" in step
            if "pip install" in step:
                assert "-c constraints.txt" in step or "--no-index --no-deps" in step, name


def test_what_goes_into_an_image_exists_and_is_let_in() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert {"deploy/secrets", "**/*.env"} <= set(ignored)
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    for stage in compose.stages().values():
        for copied in stage.said("COPY"):
            words = copied.split()
            if words[0].startswith("--from="):
                assert words[0].removeprefix("--from=") in compose.stages()
                continue
            for source in words[:-1]:
                assert (ROOT / source).exists(), copied
                assert source in let_in or source.split("/")[0] in let_in, copied


def test_no_secret_is_in_the_file_nor_in_an_image() -> None:
    telling = re.compile(r"(?i)password|secret|_key|token|_url")
    for name, service in SERVICES.items():
        image = compose.stages()[service["build"]["target"]].env
        for variable, value in {**image, **service.get("environment", {})}.items():
            if telling.search(variable):
                assert value.startswith("/run/secrets/"), (name, variable)
                assert Path(value).name in service["secrets"], (name, variable)
    for stage in compose.stages().values():
        assert not [step for step in stage.said("ARG") if telling.search(step)]
    # Debian's package makes host keys in the image.
    assert "/etc/ssh/ssh_host_*" in "".join(compose.stages()["sftp"].said("RUN"))


@each_service
def test_what_it_is_given_is_declared(name: str) -> None:
    document, service = compose.load(), SERVICES[name]
    assert set(service.get("secrets", ())) <= set(document["secrets"])
    assert set(service["networks"]) <= set(document["networks"])
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0] if isinstance(volume, str) else volume["source"]
        assert source in document["volumes"], volume
    if ports := service.get("ports"):
        exposed = " ".join(compose.stages()[service["build"]["target"]].said("EXPOSE")).split()
        assert [port.rpartition(":")[2] for port in ports] == exposed


def test_who_may_make_accounts_at_the_broker_talks_to_no_stranger() -> None:
    admins = {
        name for name, each in SERVICES.items() if "broker_admin_url" in each.get("secrets", ())
    }
    assert admins == {"manage"}
    assert SERVICES["manage"]["networks"] == ["back"] and "ports" not in SERVICES["manage"]


def test_the_database_and_the_clock_reach_nothing_outside() -> None:
    networks = compose.load()["networks"]
    assert networks["back"] == {"internal": True}
    for name in ("postgres", "beat", "migrate", "server-worker"):
        assert SERVICES[name]["networks"] == ["back"]
    assert "ports" not in SERVICES["postgres"]
    # What no stranger should reach is on no address where he could, unless one is given.
    for name in ("redis", "web", "generator"):
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])


def test_every_variable_is_in_its_example_with_its_default() -> None:
    example = DEPLOY / "compose.env.example"
    (profiles,) = compose.env_file(example).values()
    assert set(profiles.split(",")) == PROFILES - {"generator"}
    shown = re.findall(r"^#([A-Z_]+)=(.*)$", example.read_text(), re.M)
    assert dict(shown) == compose.variables()


@pytest.mark.parametrize(
    ("file", "known"),
    [("server.env", SERVER_SETTINGS), ("generator.env", WORKER_SETTINGS)],
)
def test_the_examples_set_what_the_program_reads(file: str, known: set[str]) -> None:
    names = list(compose.env_file(DEPLOY / f"{file}.example"))
    assert {name.removeprefix("STYLEDIFFUSER_") for name in names} <= known
    users = [each for each in SERVICES.values() if each.get("env_file")]
    asked = [entry for each in users for entry in each["env_file"] if entry["path"] == file]
    assert asked and all(entry["required"] is False for entry in asked)


def test_without_a_gpu_the_generator_asks_for_none() -> None:
    class Reader(yaml.SafeLoader):
        """Knows Compose's !reset, which takes away what the first file says."""

    Reader.add_constructor("!reset", lambda reader, node: "reset")
    over = yaml.load((DEPLOY / "generator" / "cpu.yml").read_text(), Reader)  # noqa: S506
    devices = over["services"]["generator"]["deploy"]["resources"]["reservations"]
    assert devices == {"devices": "reset"}
    (wanted,) = SERVICES["generator"]["deploy"]["resources"]["reservations"]["devices"]
    assert wanted == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_five_settings_make_a_worker() -> None:
    assert len(compose.env_file(DEPLOY / "generator.env.example")) == 5


@each_service
def test_settings_in_compose_and_images_exist(name: str) -> None:
    service = SERVICES[name]
    known = WORKER_SETTINGS if name == "generator" else SERVER_SETTINGS
    image = compose.stages()[service["build"]["target"]].env
    for variable in {**image, **service.get("environment", {})}:
        if variable.startswith("STYLEDIFFUSER_"):
            assert variable.removeprefix("STYLEDIFFUSER_").removesuffix("_FILE") in known, variable


def test_commands_are_in_the_image() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, service in SERVICES.items():
        stage = compose.stages()[service["build"]["target"]]
        command = [*service.get("entrypoint", ()), *service.get("command", stage.command)]
        program = command[0]
        if program.startswith("/opt/deploy/"):
            script = DEPLOY / program.removeprefix("/opt/deploy/")
            assert script.stat().st_mode & stat.S_IXOTH, f"{name}: {script} is not executable"
        else:
            found = Path(sys.executable).with_name(program)
            assert program in scripts or found.exists() or shutil.which(program), (name, program)
        for argument in [*command, *service["healthcheck"].get("test", ())]:
            if argument.startswith("/opt/deploy/"):
                assert (DEPLOY / argument.removeprefix("/opt/deploy/")).is_file(), argument


def test_prepare_makes_secrets_that_only_its_owner_and_the_containers_read(tmp_path: Path) -> None:
    here = tmp_path / "deploy"
    here.mkdir()
    for source in [DEPLOY / "prepare.sh", *DEPLOY.glob("*.example")]:
        shutil.copy2(source, here)

    def prepare(role: str) -> str:
        command = [here / "prepare.sh", role]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout

    first = prepare("server")
    assert "server.env" in first and ".env" in first
    prepared = {path.name: path.read_text() for path in (here / "secrets").iterdir()}
    wanted = set(compose.load()["secrets"])
    assert set(prepared) == wanted - {"worker_key"}
    assert stat.S_IMODE((here / "secrets").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (here / "secrets").iterdir()} == {0o444}
    for name in ("secret_key", "postgres", "redis_server", "redis_admin", "metrics_token"):
        assert re.fullmatch(r"[A-Za-z0-9_-]{64}", prepared[name])
    assert f":{prepared['postgres']}@postgres:5432/" in prepared["database_url"]
    assert f"server:{prepared['redis_server']}@redis:6379/" in prepared["broker_url"]
    assert not [text for text in prepared.values() if text and text in first]
    for name in ("server.env", ".env"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600

    assert "Made" not in prepare("server")  # what is there is kept
    assert {name: (here / "secrets" / name).read_text() for name in prepared} == prepared
    public = prepare("generator").splitlines()
    assert any(line.startswith("ssh-ed25519 AAAA") for line in public)
    assert (here / "secrets" / "worker_key").read_text().startswith("-----BEGIN OPENSSH")


def test_git_keeps_none_of_it() -> None:
    for path in ("deploy/secrets/postgres", "server.env", "generator.env", ".env"):
        ignored = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT)
        assert ignored.returncode == 0, path
