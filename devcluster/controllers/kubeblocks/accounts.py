"""The account Secrets of Clusters, and the password with which new data is made.

As with the operator: a Secret is made once, is not changed afterwards, and is held by its finalizer. One that is gone
is made again with another, random password, which the server doesn't have.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

from devcluster.client.client import SECRETS, ConflictError, KubeClient, Object
from devcluster.client.reflector import Key, Reflector
from devcluster.controllers.kubeblocks.memory import Memory
from devcluster.controllers.kubeblocks.objects import (
    ACCOUNT,
    ACCOUNTS,
    VARIANT_ANNOTATION,
    Owners,
    build_secret,
    secret_name,
)
from devcluster.controllers.kubeblocks.states import is_current
from devcluster.controllers.scenarios import SecretVariant
from devcluster.node.postgres import PostgresServers, new_password

# The watch reports a Secret of this stand-in within this time.
WATCH_LAG_S = 5.0


class Accounts:
    """Writes the account Secrets. `on_gone(key, name)` is called for the Cluster of a Secret that is gone."""

    def __init__(self, client: KubeClient, *, has_all: bool, on_gone: Callable[[Key, str], None]) -> None:
        self._client = client
        self._has_all = has_all
        self._on_gone = on_gone
        self.secrets = Reflector(
            client, SECRETS, labels="app.kubernetes.io/managed-by=kubeblocks", on_change=self._changed
        )

    def _changed(self, key: Key, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            labels = old["metadata"].get("labels") or {}
            self._on_gone(Key(key.namespace, labels.get("app.kubernetes.io/instance", "")), key.name)

    def _find(self, cluster: Object, account: str = ACCOUNT) -> Object | None:
        return self.secrets.get(Key(cluster["metadata"]["namespace"], secret_name(cluster, account)))

    def password_of(self, cluster: Object) -> str:
        """Return the password in the superuser's Secret; "" if there is none, or a scenario has spoiled it."""
        found = self._find(cluster)
        if found is None or _variant_of(found) != "full":
            return ""
        return base64.b64decode((found.get("data") or {}).get("password", "")).decode(errors="replace")

    async def write(
        self, owners: Owners, memory: Memory, variant: SecretVariant, servers: PostgresServers | None, server: str
    ) -> None:
        """Create the Secrets that are missing; spoil or mend the superuser's as the scenario says."""
        cluster = owners.cluster
        for account in ACCOUNTS if self._has_all and is_current(cluster) else (ACCOUNT,):
            found = self._find(cluster, account)
            if account != ACCOUNT:
                if found is None:
                    await self._create(memory, build_secret(owners, new_password(), account=account))
            elif found is None:
                password = servers.password_of(server) if servers and not servers.is_known(server) else new_password()
                if await self._create(memory, build_secret(owners, password, variant)) and servers:
                    servers.make_known(server, is_known=variant == "full")
            elif _variant_of(found) != variant:
                await self._spoil_or_mend(owners, memory, found, variant, servers, server)
            elif servers and variant == "full":
                servers.make_known(server)

    async def _create(self, memory: Memory, secret: Object) -> bool:
        """Create a Secret, unless that was done just now. Return whether it was created."""
        name = secret["metadata"]["name"]
        if time.monotonic() - memory.secrets_made.get(name, -WATCH_LAG_S) < WATCH_LAG_S:
            return False
        try:
            await self._client.create(SECRETS, secret, secret["metadata"]["namespace"])
        except ConflictError:
            return False
        finally:
            memory.secrets_made[name] = time.monotonic()
        return True

    async def _spoil_or_mend(
        self,
        owners: Owners,
        memory: Memory,
        found: Object,
        variant: SecretVariant,
        servers: PostgresServers | None,
        server: str,
    ) -> None:
        if _variant_of(found) == "full":
            memory.kept_password = self.password_of(owners.cluster)
        kept = memory.kept_password or (servers.password_of(server) if servers else new_password())
        secret = build_secret(owners, kept, variant)
        data = {**dict.fromkeys(found.get("data") or {}), **secret["data"]}
        annotations = {VARIANT_ANNOTATION: None if variant == "full" else variant}
        metadata = secret["metadata"]
        await self._client.merge_patch(
            SECRETS, metadata["name"], metadata["namespace"], {"data": data, "metadata": {"annotations": annotations}}
        )


def _variant_of(secret: Object) -> str:
    return str((secret["metadata"].get("annotations") or {}).get(VARIANT_ANNOTATION, "full"))
