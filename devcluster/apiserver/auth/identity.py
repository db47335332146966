"""Authentication: bearer tokens and the users that they belong to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from devcluster.apiserver.storage.store import Store

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and their groups. Members of system:masters may do everything."""

    user: str
    groups: tuple[str, ...] = ()

    @property
    def is_master(self) -> bool:
        return MASTERS in self.groups


def service_account_identity(namespace: str, name: str) -> Identity:
    return Identity(
        f"system:serviceaccount:{namespace}:{name}",
        ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED),
    )


class Authenticator:
    """Accepts fixed tokens, and JWTs of ServiceAccounts signed with the key of this state directory (HS256)."""

    def __init__(self, store: Store, tokens: Mapping[str, Identity]) -> None:
        self._store = store
        self._tokens = {hashlib.sha256(token.encode()).digest(): identity for token, identity in tokens.items()}
        self._key = b""

    def identify(self, authorization: str) -> Identity | None:
        """Return the user of an Authorization header; None if the token is not valid."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        known = self._tokens.get(hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest())
        if known is not None:
            if AUTHENTICATED in known.groups:
                return known
            return Identity(known.user, (*known.groups, AUTHENTICATED))
        return self._identify_service_account(token)

    def issue(self, namespace: str, name: str, uid: str, audiences: list[str], expires_in_s: int) -> tuple[str, int]:
        """Return a token for a ServiceAccount, and the time at which it expires in Unix seconds."""
        now = int(time.time())
        expires_at = now + expires_in_s
        claims = {
            "aud": audiences,
            "exp": expires_at,
            "iat": now,
            "nbf": now,
            "iss": "https://kubernetes.default.svc",
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
        }
        signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
        return f"{signed}.{self._sign(signed)}", expires_at

    def _identify_service_account(self, token: str) -> Identity | None:
        signed, _, signature = token.rpartition(".")
        if signed.count(".") != 1 or not hmac.compare_digest(signature.encode(), self._sign(signed).encode()):
            return None
        try:
            payload = signed.partition(".")[2]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            account = claims["kubernetes.io"]
            namespace, name, uid = (
                account["namespace"],
                account["serviceaccount"]["name"],
                account["serviceaccount"]["uid"],
            )
        except (ValueError, KeyError, TypeError):
            return None
        record = self._store.get("serviceaccounts", namespace, name)
        if record is None or record.uid != uid or claims.get("exp", 0) < time.time():
            return None
        return service_account_identity(namespace, name)

    def _sign(self, text: str) -> str:
        if not self._key:
            stored = self._store.read_fact("token-key")
            if stored is None:
                stored = secrets.token_hex(32)
                self._store.write_fact("token-key", stored)
            self._key = bytes.fromhex(stored)
        digest = hmac.digest(self._key, text.encode("utf-8", "surrogateescape"), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _encode(value: object) -> str:
    raw = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
