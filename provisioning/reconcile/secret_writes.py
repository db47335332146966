"""Writes a password to a Secret of KubeBlocks, after a proof that this succeeds.

The messages name the Secret and the API server's code, never the password or the API server's text, which may quote it.
"""

from projects.domain.connection import Connection
from projects.domain.states import DesiredState
from provisioning.kube.errors import RefusedError
from provisioning.kube.kinds import SECRET, kind_of
from provisioning.objects.credentials import holds
from provisioning.objects.readers import Object, metadata_of, text
from provisioning.objects.refusals import Cause
from provisioning.objects.secret_writes import find_obstacle, password_data
from provisioning.reconcile.apply_sandbox import build_sandbox
from provisioning.reconcile.context import PassContext

# Refusals that are the same at the next try. A conflict, or a server or a webhook that fails, may be gone by then.
_FINAL = frozenset(
    {
        Cause.NO_PERMISSION,
        Cause.QUOTA,
        Cause.LIMIT_RANGE,
        Cause.POD_SECURITY,
        Cause.POLICY,
        Cause.ADMISSION,
        Cause.NAMESPACE_TERMINATING,
        Cause.NAMESPACE_MISSING,
        Cause.NOT_FOUND,
        Cause.INVALID,
        Cause.NO_DRY_RUN,
    }
)
_RETRIES = "The panel retries automatically."


class UnwritableError(Exception):
    """A later step of a change can't succeed. The message says why and what to do, without its last full stop, and
    holds no secret."""


def prove_writable(context: PassContext, secret: Object, username: str, password: str) -> None:
    """Prove that the password can be written to the Secret, by a dry run that changes its data. Raises
    UnwritableError, KubeError."""
    obstacle = find_obstacle(secret)
    if obstacle:
        raise UnwritableError(obstacle)
    name = text(metadata_of(secret).get("name"), 253)
    try:
        written = _merge(context, secret, password, is_dry_run=True)
    except RefusedError as error:
        raise _explain(error, f"the Secret {name}") from None
    if not holds(written, username, password):
        raise UnwritableError(
            f"the API server stores another password in the Secret {name} than the one that is sent: an admission "
            "webhook changes it"
        )


def write_password(context: PassContext, secret: Object, password: str) -> None:
    """Set the password in a Secret that has not changed since it was read. Raises LeaseLostError, and KubeError without
    the password."""
    context.lease.write()
    try:
        _merge(context, secret, password)
    except RefusedError as error:
        name = text(metadata_of(secret).get("name"), 253)
        said = f"The API server refused the new password in the Secret {name} ({error.code} {error.reason})."
        raise error.without_quote(said) from None


def prove_sandbox_restart(context: PassContext, connection: Connection) -> None:
    """Prove that the sandbox can be given these credentials, by a dry run. Raises UnwritableError, KubeError."""
    sandbox = context.sandbox
    if sandbox is None or sandbox.applied_at is None or context.project.desired_state != DesiredState.RUNNING:
        return
    for manifest in build_sandbox(context, sandbox, connection).all:
        kind = kind_of(manifest)
        try:
            context.kube.apply(manifest, kind.plural, is_dry_run=True)
        except RefusedError as error:
            name = text(metadata_of(manifest).get("name"), 253)
            raise _explain(error, f"the sandbox's {kind.name} {name}") from None


def _merge(context: PassContext, secret: Object, password: str, *, is_dry_run: bool = False) -> Object:
    metadata = metadata_of(secret)
    seen = {"uid": metadata.get("uid"), "resourceVersion": metadata.get("resourceVersion")}
    return context.kube.merge(
        SECRET,
        text(metadata.get("namespace"), 63),
        text(metadata.get("name"), 253),
        {"metadata": seen, "data": password_data(password)},
        is_dry_run=is_dry_run,
    )


def _explain(error: RefusedError, what: str) -> Exception:
    said = f"the API server refuses the new password in {what} ({error.code} {error.reason})"
    if error.cause not in _FINAL:
        return error.without_quote(f"{said[0].upper()}{said[1:]}.")
    return UnwritableError(f"{said}. {error.hint.removesuffix(_RETRIES)}".strip().rstrip("."))
