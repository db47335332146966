"""What an identity provider says of a user is input: it names somebody, or nobody is let in, and no page breaks."""

from http import HTTPStatus

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.access.test_accounts import provider, sign_on

__all__ = ["provider"]
pytestmark = pytest.mark.django_db

NOBODY = [
    {},
    {"sub": ""},
    {"sub": None},
    {"sub": True},
    {"sub": {"a": 1}},
    {"sub": ["1"]},
    {"sub": "1", "preferred_username": {"a": 1}},
    {"sub": "1", "given_name": {"a": 1}},
    {"sub": "1", "name": ["maria"]},
]


@pytest.mark.parametrize("claims", NOBODY, ids=str)
def test_who_is_not_named_is_not_let_in(provider, claims):
    provider.claims = claims
    client = Client(raise_request_exception=False)
    answer = sign_on(client)
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert "identity provider does not answer" in answer.content.decode()
    assert "_auth_user_id" not in client.session
    assert not User.objects.exists()


@pytest.mark.parametrize("subject", ["42", 42])
def test_who_is_named_is_let_in_as_the_same_user_each_time(provider, subject):
    provider.claims = {"sub": subject, "preferred_username": "maria"}
    for _ in range(2):
        client = Client()
        assert sign_on(client).status_code == HTTPStatus.FOUND
        assert client.session["_auth_user_id"] == str(User.objects.get(username="maria").pk)
