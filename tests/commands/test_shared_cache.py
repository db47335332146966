"""Caches that processes share: counters of wrong codes, the sidebar's search, the queue's statistics."""

from tests.support.commands import shell

# A member of staff types into the field above the sidebar.
SEARCH = """
from django.contrib.auth.models import User
from django.test import Client
client = Client(raise_request_exception=False, SERVER_NAME='localhost')
client.force_login(User.objects.get_or_create(username='ann', is_staff=True, is_superuser=True)[0])
answers = [client.get('/admin/search/', {'s': 'Sandbox t'}) for _ in range(2)]
print([answer.status_code for answer in answers], 'Sandbox templates' in answers[1].content.decode())
"""


def test_processes_share_counters_in_the_database(repository, state_dir):
    code = "from django.core.cache import cache; print(cache.add('code', [1.5], timeout=60), cache.get('code'))"
    assert shell(repository, state_dir, code) == "True [1.5]\n"
    assert shell(repository, state_dir, code) == "False [1.5]\n"


def test_processes_share_counters_in_redis(repository, state_dir, redis_url):
    code = "from django.core.cache import cache; print(cache.add('code', [1.5], timeout=60), cache.get('code'))"
    assert shell(repository, state_dir, code, REDIS_URL=redis_url) == "True [1.5]\n"
    assert shell(repository, state_dir, code, REDIS_URL=redis_url) == "False [1.5]\n"


def test_sidebar_search_is_not_cached_with_the_counters(repository, state_dir):
    held = """
from django.db import connection
with connection.cursor() as cursor:
    print(cursor.execute('SELECT COUNT(*) FROM controlpanel_cache').fetchone())
"""
    assert shell(repository, state_dir, SEARCH + held) == "[200, 200] True\n(0,)\n"


def test_sidebar_search_works_with_redis(repository, state_dir, redis_url):
    held = "from django.core.cache import cache; print(cache._cache.get_client().keys())"
    assert shell(repository, state_dir, SEARCH + held, REDIS_URL=redis_url) == "[200, 200] True\n[]\n"


def test_statistics_of_the_queue_are_not_in_the_database(repository, state_dir):
    code = "from django.core.cache import caches; from django_q.conf import Conf; print(caches[Conf.CACHE].__class__)"
    assert "LocMemCache" in shell(repository, state_dir, code)


def test_statistics_in_redis_contain_no_pickles(repository, state_dir):
    code = """
from django.core.cache import caches
cache = caches['default']
held = cache._cache._serializer
print(cache.__class__.__name__, held.dumps([1.5]), held.loads(held.dumps([1.5])))
"""
    said = shell(repository, state_dir, code, REDIS_URL="redis://127.0.0.1:9/0")
    assert said == "RedisCache b'[1.5]' [1.5]\n"
