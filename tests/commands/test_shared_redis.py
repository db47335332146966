"""Two installations on one Redis have separate queues and counters."""

from tests.support.commands import shell

PUT = """
from django.core.cache import cache
from django_q.brokers import get_broker
from django_q.tasks import async_task
async_task('provisioning.tasks.beat')
print(get_broker().queue_size(), cache.add('code', 1), get_broker().list_key)
"""
LOOK = """
from django.core.cache import cache
from django_q.brokers import get_broker
print(get_broker().queue_size(), cache.get('code'), get_broker().list_key)
"""


def test_installations_have_separate_tasks_and_counters(repository, state_dir, tmp_path, redis_url):
    first = shell(repository, state_dir, PUT, REDIS_URL=redis_url).split()
    again = shell(repository, state_dir, LOOK, REDIS_URL=redis_url).split()
    other = shell(repository, tmp_path / "other", LOOK, REDIS_URL=redis_url).split()
    assert first[:2] == ["1", "True"]
    assert again == ["1", "1", first[2]]
    assert other[:2] == ["0", "None"]
    assert other[2] != first[2]


def test_processes_with_one_key_are_one_installation(repository, state_dir, tmp_path, redis_url):
    key = "k" * 50
    first = shell(repository, state_dir, PUT, REDIS_URL=redis_url, SECRET_KEY=key).split()
    other = shell(repository, tmp_path / "other", LOOK, REDIS_URL=redis_url, SECRET_KEY=key).split()
    assert other == ["1", "1", first[2]]
    assert key not in first[2]


def test_name_separates_installations_with_one_key(repository, state_dir, redis_url):
    key = "k" * 50
    shell(repository, state_dir, PUT, REDIS_URL=redis_url, SECRET_KEY=key)
    staging = shell(repository, state_dir, LOOK, REDIS_URL=redis_url, SECRET_KEY=key, INSTALLATION="staging").split()
    assert staging[:2] == ["0", "None"]
    assert staging[2].endswith("controlpanel-staging:q")


def test_queue_in_the_database_keeps_its_name(repository, state_dir):
    shell(repository, state_dir, PUT, SECRET_KEY="k" * 50)
    assert shell(repository, state_dir, LOOK, SECRET_KEY="l" * 50).split()[0] == "1"
