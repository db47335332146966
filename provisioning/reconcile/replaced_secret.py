"""Effects on a database whose Secret has a password that replaced a proved one: the user's choice of one of them."""

from datetime import datetime

from projects.domain.connection import Connection
from projects.domain.states import Level
from projects.models import DatabaseCluster
from provisioning.decisions.types import Verification
from provisioning.objects.credentials import Missing, choose_secret, component_of
from provisioning.objects.secret_writes import explain_source, find_source
from provisioning.reconcile.apply_database import capture_credentials
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.observe import observe_connection
from provisioning.reconcile.secret_writes import UnwritableError, prove_writable, write_password


def restore_secret(context: PassContext, database: DatabaseCluster, now: datetime) -> None:
    """Write the captured password back to the Secret. Refused if the server does not accept it, or if the Secret can't
    be written. Raises KubeError, LeaseLostError, UndecryptableValueError."""
    captured, snapshot = database.connection, context.snapshot
    found = observe_connection(context, database)
    secret = choose_secret(snapshot.secrets or [], database.name, component_of(snapshot.cluster))
    if captured is None or secret is None or isinstance(found, Missing):
        _refuse(context, database, "the Secret no longer has credentials")
        return
    proof = snapshot.proofs.get(captured)
    if proof is not None and proof.verification is Verification.REJECTED:
        _refuse(context, database, "the server does not accept the password that was verified before")
        return
    source = find_source(snapshot.cluster)
    if source:
        _refuse(context, database, explain_source(source, snapshot.cluster, database.name))
        return
    if found.username != captured.username:
        _refuse(context, database, "the Secret has another user. Write both values back with kubectl")
        return
    try:
        prove_writable(context, secret, captured.username, captured.password)
    except UnwritableError as error:
        _refuse(context, database, str(error))
        return
    context.store()
    write_password(context, secret, captured.password)
    context.set(database, replacement_choice="")
    context.note(
        "SecretRestored",
        f"Wrote the verified password of {database.name} back to its Secret.",
        resource=f"database {database.name}",
    )
    snapshot.forget_credentials()


def use_secret(context: PassContext, database: DatabaseCluster, now: datetime) -> None:
    """Capture the Secret's password although it is not proved. Refused if the server does not accept it. Raises
    KubeError, UndecryptableValueError."""
    found = observe_connection(context, database)
    proof = context.snapshot.proofs.get(found) if isinstance(found, Connection) else None
    if proof is not None and proof.verification is Verification.REJECTED:
        _refuse(context, database, "the server does not accept the password in the Secret")
        return
    capture_credentials(context, database, now)


def _refuse(context: PassContext, database: DatabaseCluster, why: str) -> None:
    """Record why the choice was not carried out. The captured credentials stay."""
    context.set(database, replacement_choice="")
    context.note(
        "SecretNotChanged",
        f"The choice for the Secret of {database.name} was not carried out: {why.rstrip('.')}.",
        resource=f"database {database.name}",
        level=Level.ERROR,
    )
