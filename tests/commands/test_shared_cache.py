"""What counts wrong codes of the second factor counts for all processes together, from a fresh clone on."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.conftest import hermetic_environment


def shell(repository: Path, state_dir: Path, code: str, **environment: str) -> str:
    """Run Python in a process of its own, with the panel's settings; return what it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{code}"],
        cwd=repository,
        env=hermetic_environment(state_dir, **environment),
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


@pytest.fixture
def state_dir(migrated_state: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(migrated_state, tmp_path / "state"))


def test_processes_count_together_once_the_database_is_migrated(repository, state_dir):
    code = "from django.core.cache import cache; print(cache.add('code', [1.5], timeout=60), cache.get('code'))"
    assert shell(repository, state_dir, code) == "True [1.5]\n"
    assert shell(repository, state_dir, code) == "False [1.5]\n"


def test_the_queue_keeps_what_it_knows_of_its_processes_out_of_the_database(repository, state_dir):
    code = "from django.core.cache import caches; from django_q.conf import Conf; print(caches[Conf.CACHE].__class__)"
    assert "LocMemCache" in shell(repository, state_dir, code)


def test_with_redis_it_is_there_and_holds_no_pickles(repository, state_dir):
    code = """
from django.core.cache import caches
cache = caches['default']
held = cache._cache._serializer
print(cache.__class__.__name__, held.dumps([1.5]), held.loads(held.dumps([1.5])))
"""
    said = shell(repository, state_dir, code, REDIS_URL="redis://127.0.0.1:9/0")
    assert said == "RedisCache b'[1.5]' [1.5]\n"
