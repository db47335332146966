"""Claims of an identity provider are untrusted: without a valid `sub`, the sign-on is refused and no page breaks."""

from http import HTTPStatus

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.access.test_accounts import provider, sign_on

__all__ = ["provider"]
pytestmark = pytest.mark.django_db

INVALID_CLAIMS = [
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


@pytest.mark.parametrize("claims", INVALID_CLAIMS, ids=str)
def test_invalid_claims_are_refused(provider, claims):
    provider.claims = claims
    client = Client(raise_request_exception=False)
    answer = sign_on(client)
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert 'data-error="sign-on-unavailable"' in answer.content.decode()
    assert "_auth_user_id" not in client.session
    assert not User.objects.exists()


@pytest.mark.parametrize("subject", ["42", 42])
def test_same_subject_logs_in_as_the_same_user(provider, subject):
    provider.claims = {"sub": subject, "preferred_username": "maria"}
    for _ in range(2):
        client = Client()
        assert sign_on(client).status_code == HTTPStatus.FOUND
        assert client.session["_auth_user_id"] == str(User.objects.get(username="maria").pk)
