"""Output of commands on terminals with few characters, and with readers that close the pipe."""

import json
import subprocess
import sys

import pytest

from tests.support.processes import ROOT, hermetic_environment

LOCALES = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252:strict"},
    "C": {"LC_ALL": "C"},
    "C without coercion": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "POSIX without coercion": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def run(state_dir, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=hermetic_environment(state_dir, **environment),
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)
def test_unsupported_character_ends_no_command(state_dir, locale):
    for arguments in (
        ("status", "no such … “project” 日本 🦀"),
        ("provision", "日本", "--dry-run"),
        ("doctor",),
        ("help", "up"),
    ):
        ran = run(state_dir, *arguments, **locale)
        assert ran.returncode in (0, 1, 2), ran.stderr
        assert b"Traceback" not in ran.stderr
        assert b"Error" not in ran.stderr


def test_invalid_setting_is_reported_on_any_terminal(state_dir):
    ran = run(state_dir, "check", ALLOWED_HOSTS="https://日本.example", **LOCALES["ascii"])
    assert ran.returncode == 2
    assert ran.stderr.startswith(b"The panel can't start: ALLOWED_HOSTS is 'https://\\u65e5\\u672c.example'")


@pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)
def test_json_stays_valid(state_dir, locale):
    ran = run(state_dir, "shell", "-v0", "-c", JSON_LINE, **locale)
    encoding = locale.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    assert json.loads(ran.stdout.decode(encoding)) in ({"text": "é … “日本” 🦀"}, {"text": "é ... “日本” 🦀"})


JSON_LINE = (
    r"import json, sys; text = '\xe9 \u2026 \u201c\u65e5\u672c\u201d \U0001f980'; "
    "sys.stdout.write(json.dumps({'text': text}, ensure_ascii=False))"
)


@pytest.mark.parametrize(
    "arguments",
    [("status", "--json"), ("doctor",), ("showmigrations",), ("migrate", "--plan"), ("help", "provision")],
    ids=" ".join,
)
@pytest.mark.parametrize("streams", ["2>/dev/null | true", "2>&1 | true", "2>&1 | head -n 1"])
def test_closed_pipe_ends_a_command_silently(state_dir, tmp_path, arguments, streams):
    said = tmp_path / "said"
    command = f"{{ {sys.executable} manage.py {' '.join(arguments)}; echo $? > {tmp_path}/code; }} {streams}"
    ran = subprocess.run(
        ["bash", "-c", f"({command}) 2> {said}"],
        cwd=ROOT,
        env=hermetic_environment(state_dir),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in ran.stdout + said.read_text()
    assert "Exception ignored" not in ran.stdout + said.read_text()
    assert int((tmp_path / "code").read_text()) in (0, 1, 141)
