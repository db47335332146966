"""Bugs that are planted on purpose, and that the fault suite must notice. This is the one place where a test changes
the panel's own code.

A bug is a piece of source text to replace in a function. Within `planted`, the function runs with the changed code.
"""

import contextlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from django.db import connection

from projects.confidential.encrypted_fields import EncryptedText
from projects.confidential.redaction import redact
from projects.models import DatabaseCluster
from projects.services.queue import enqueue_pass
from provisioning import identity
from provisioning.decisions import proofs, removal, running
from provisioning.decisions.types import Remaining
from provisioning.inventory import orphans
from provisioning.kube.client import Kube
from provisioning.management.commands import up
from provisioning.objects import credentials, names
from provisioning.queue.sweep import _find_lost, sweep_once
from provisioning.reconcile import loop, observe, record, rotate_password, teardown
from provisioning.reconcile.lease import Lease, claim, release


@dataclass(frozen=True, slots=True)
class Edit:
    """In the source of `function`, `old` (which occurs once) becomes `new`."""

    function: Callable[..., Any]
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake that a developer could make. `kind` is the fault that reveals it, `dropped` are database constraints
    that are dropped with it, `seed` is the first seed that reveals it.
    """

    name: str
    kind: str
    edits: tuple[Edit, ...]
    dropped: tuple[str, ...] = ()
    seed: int = 1


_ABSENT = "except UnreachableError:\n        return None\n    except RefusedError as error:"
_HELD = "Project.objects.filter(pk=self.project_id, lease_token=self.token, wanted_generation=self.generation)"
_OTHERS = "others = DatabaseCluster.objects.filter(retired_at=None, object_uid=uid).exclude(project=rows[0].project_id)"
_BY_NAME = "kube.delete(kind, orphan.namespace, orphan.name)"

BUGS = (
    Bug(
        "a lease does not fence writes",
        "worker stalls, its lease is taken over",
        (Edit(Lease._held, _HELD, "Project.objects.filter(pk=self.project_id)"),),
    ),
    Bug(
        "a pass overwrites a newer intent",
        "delete during create",
        (Edit(Lease._held, ", wanted_generation=self.generation)", ")"),),
        seed=7,
    ),
    Bug(
        "the owner label is ignored",
        "Cluster labeled as a stranger's",
        (Edit(running._decide_database, "cluster.owner not in (None, desired.uid) or ", "False or "),),
    ),
    Bug(
        "a Cluster labeled for another project is used",
        "a stranger's label on a Cluster of the project's name",
        (
            Edit(names.find_existing_cluster, "project_id_of(cluster.labels) in (None, str(uid))", "True"),
            Edit(observe._find_existing_database, 'labels=f"!{PROJECT_ID_LABEL}"', 'labels=""'),
            Edit(running._decide_database, "cluster.owner not in (None, desired.uid) or ", "False or "),
        ),
    ),
    Bug(
        "a request without the permission adopts a Cluster by name",
        "tasks doubled",
        (Edit(observe._find_existing_database, "not project.adopts_by_name", "False"),),
    ),
    Bug(
        "a label proves whose a Cluster is",
        "one project's label on another's Cluster",
        (
            Edit(teardown._is_cluster_of, "if uid not in known and (known or not is_answer_lost):", "if False:"),
            Edit(teardown._is_cluster_of, _OTHERS, "others = DatabaseCluster.objects.none()"),
        ),
    ),
    Bug(
        "a Cluster that another project holds is adopted",
        "one project's label on another's Cluster",
        (Edit(observe._find_existing_database, "taken=taken,", "taken=(),"),),
    ),
    Bug(
        "a project's variables are masked in other projects' records",
        "a variable whose value is a word of the log",
        (Edit(redact, "held=_held.get()", "held=None"),),
    ),
    Bug(
        "an empty password is accepted",
        "Secret with an empty password",
        (
            Edit(credentials._read, "value.strip().lower() in _NOT_VALUES or", "False or"),
            Edit(
                credentials.read_connection,
                "if not username or not password:",
                "if username is None:",
            ),
            Edit(DatabaseCluster._connection_with, "or not password or", "or"),
        ),
        seed=5,
    ),
    Bug(
        "each request enqueues a task",
        "provision pressed many times",
        (Edit(enqueue_pass, "filter(pk=project_id, queued_at=None)", "filter(pk=project_id)"),),
    ),
    Bug(
        "no constraint prevents a second database",
        "two workers at one project",
        (
            Edit(claim, "Q(lease_until=None) |", "Q() |"),
            Edit(Lease._held, _HELD, "Project.objects.filter(pk=self.project_id)"),
        ),
        ("one_live_database_a_project",),
    ),
    Bug(
        "an unanswered request counts as a missing object",
        "API server gone",
        (
            Edit(
                Kube.get_or_none,
                "except RefusedError as error:",
                _ABSENT,
            ),
            Edit(identity.prove_own_cluster, "not is_fresh and now_s", "True or now_s"),
        ),
        seed=6,
    ),
    Bug(
        "a failed pass is not repeated",
        "503 from the API server",
        (
            Edit(
                loop._reconcile,
                "return PassResult(record_failure(lease, explain_failure(error), timezone.now(), context))",
                "return PassResult(None)",
            ),
        ),
        seed=7,
    ),
    Bug(
        "an adopted Cluster is deleted with its project",
        "adopt what another project adopts",
        (
            Edit(removal.decide_removal, "if item.is_kept", "if False"),
            Edit(vars(Remaining)["is_deletable"].fget, " and not self.is_kept", ""),
        ),
        seed=2,
    ),
    Bug(
        "a Cluster labeled by hand is deleted with the project",
        "Cluster made from the manifest of a project's",
        (
            Edit(teardown._is_cluster_of, "if uid not in known and (known or not is_answer_lost):", "if False:"),
            Edit(teardown._is_cluster_of, _OTHERS, "others = DatabaseCluster.objects.none()"),
            Edit(teardown._is_kept, "return Origin.CREATED not in origins", "return False"),
        ),
    ),
    Bug(
        "a project is Running before its sandbox is ready",
        "operator asleep past every deadline",
        (Edit(running._decide_sandbox, "if status.phase is not Phase.RUNNING:", "if False:"),),
        seed=5,
    ),
    Bug(
        "a status has no reason",
        "tasks lost",
        (Edit(record.record, "decision.project.reason", '""'),),
    ),
    Bug(
        "a status has no message",
        "tasks lost",
        (Edit(record.record, "decision.project.message", '""'),),
    ),
    Bug(
        "a password is stored in plain text",
        "tasks lost",
        (Edit(EncryptedText.of.__func__, "encrypt(text)", "text"),),  # type: ignore[attr-defined]
    ),
    Bug(
        "a lost task is not repeated",
        "tasks lost",
        (Edit(sweep_once, "lost = _find_lost(now, _LOST_AFTER + tasks * _SLOWEST_PASS)", "lost = set()"),),
        seed=2,
    ),
    Bug(
        "a pass schedules no next pass",
        "tasks lost",
        (Edit(release, "next_pass_at=next_pass_at)", "next_pass_at=None)"),),
    ),
    Bug(
        "a running project is never checked",
        "tasks lost",
        (
            Edit(record.next_pass_time, "case Requeue.NEVER:", "case Requeue.NEVER | Requeue.SETTLED:"),
            Edit(record.next_pass_time, "case Requeue.SETTLED:", "case None:"),
        ),
    ),
    Bug(
        "a project is Deleted before its objects are",
        "deletion that does not end",
        (
            Edit(
                removal.decide_removal,
                "doomed = [item for item in observed.remaining if item not in kept]",
                "doomed = [item for item in observed.remaining if item not in kept and not item.is_deleting]",
            ),
        ),
        seed=3,
    ),
    Bug(
        "a Cluster's name is reused",
        "Cluster deleted outside",
        (Edit(names.build_database_name, "suffix or _suffix()", "suffix or 'always'"),),
    ),
    Bug(
        "a changed password does not reach the sandbox",
        "password changed outside",
        (
            Edit(running._decide_sandbox, "and observed.sandbox.environment_digest == observed.digest", ""),
            Edit(running._decide_sandbox, "and sandbox.environment_digest == observed.digest", ""),
        ),
        seed=3,
    ),
    Bug(
        "a changed Secret is not captured",
        "password changed outside",
        (
            Edit(
                running._decide_credentials,
                "case ObservedCredentials.CHANGED:",
                "case ObservedCredentials.CHANGED if database.captured_at is None:",
            ),
            Edit(
                running._decide_credentials,
                "case ObservedCredentials.SAME:",
                "case ObservedCredentials.CHANGED | ObservedCredentials.SAME:",
            ),
        ),
        seed=3,
    ),
    Bug(
        "a new password is set before it is stored",
        "worker killed in the middle of a change of password",
        (
            Edit(
                rotate_password.rotate_password,
                "_save(context, database, pending_password=EncryptedText.of(_new_password()))",
                "database.pending_password = EncryptedText.of(_new_password())",
            ),
        ),
    ),
    Bug(
        "a started rotation is abandoned",
        "database's server killed in the middle of a change of password",
        (
            Edit(
                rotate_password._change_on_server,
                "if database.rotation_begun_at is None and is_past(deadline, now):",
                "if verification is not Verification.VERIFIED:",
            ),
        ),
    ),
    Bug(
        "a new password is reverted without the lease",
        "lease lost during a failed proof of a new password",
        (
            Edit(
                rotate_password._set_password,
                "if not context.lease.has_time_left(timezone.now(), needed):",
                "if False:",
            ),
            Edit(
                rotate_password._set_password,
                "_save(context, database, **values)",
                "values and _save(context, database, **values)",
            ),
        ),
    ),
    Bug(
        "a started rotation is abandoned if both passwords are refused",
        "server refuses everybody in the middle of a change of password",
        (
            Edit(
                rotate_password._change_on_server,
                "if _is_another_in_force(context, database, current, pending):",
                "if True:",
            ),
        ),
    ),
    Bug(
        "a rotation begins without a proof that it can be completed",
        "account Secret made immutable",
        (
            Edit(
                rotate_password._change_on_server,
                "_prove_later_steps(context, database, current, pending)",
                "pass",
            ),
        ),
    ),
    Bug(
        "an unproved password replaces a proved one",
        "Secret replaced with another password by the operator",
        (
            Edit(
                proofs.compare_credentials,
                "is_at_stake = was_proved or (is_other_secret and not verifies)",
                "is_at_stake = False",
            ),
        ),
    ),
    Bug(
        "a project's object is listed as an orphan",
        "orphans ended while something strikes",
        (Edit(orphans.judge, "or called in has", ""),),
    ),
    Bug(
        "a request for an orphan applies to a later object of its name",
        "orphan's name used again while it is ended",
        (
            Edit(
                orphans.look_for_orphans,
                "requested.exclude(uid__in=[row.uid for row in orphans if row.uid]).delete()",
                "requested.none()",
            ),
        ),
    ),
    Bug(
        "an orphan is identified by its name",
        "orphan's name used again while it is ended",
        (
            Edit(orphans._end, "uid_of(item) == orphan.uid", "metadata_of(item).get('name') == orphan.name"),
            Edit(orphans._end, "kube.delete(kind, orphan.namespace, orphan.name, uid=orphan.uid)", _BY_NAME),
        ),
    ),
    Bug(
        "objects of an overtaken pass are not looked for",
        "deleted before a late effect",
        (Edit(record.next_pass_time, "return now + 2 * LEASE", "return None"),),
    ),
    Bug(
        "a clock that was set back is ignored",
        "clock jumps back",
        (
            Edit(sweep_once, "next_pass_at__gt=now + longest", "pk=None"),
            Edit(_find_lost, "queued_at__gt=now + heartbeats.CLOCK_SKEW", "pk=None"),
        ),
        seed=3,
    ),
)

# The runs with processes search for these.
SUPERVISOR_BUGS = (
    Bug(
        "a hanging queue is not restarted",
        "idle worker next in line killed",
        (Edit(up.Command._tend, "restart_hanging_queue(supervisor)", "pass"),),
    ),
)


@contextlib.contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Run the panel with the bug. Raises AssertionError if the source has changed so that the bug can't be planted."""
    with contextlib.ExitStack() as stack:
        for function in dict.fromkeys(edit.function for edit in bug.edits):
            stack.enter_context(_changed(function, [edit for edit in bug.edits if edit.function is function]))
        for constraint in bug.dropped:
            stack.enter_context(_without(constraint))
        yield


@contextlib.contextmanager
def _changed(function: Callable[..., Any], edits: list[Edit]) -> Iterator[None]:
    assert isinstance(function, FunctionType)
    source = textwrap.dedent(inspect.getsource(function))
    for edit in edits:
        assert source.count(edit.old) == 1, f"{function.__qualname__} has changed: {edit.old}"
        source = source.replace(edit.old, edit.new)
    module = compile(source, f"<{function.__qualname__}, with a bug>", "exec")
    original = function.__code__
    function.__code__ = next(
        code for code in module.co_consts if isinstance(code, CodeType) and code.co_name == function.__name__
    )
    try:
        yield
    finally:
        function.__code__ = original


@contextlib.contextmanager
def _without(constraint: str) -> Iterator[None]:
    """Drop a partial unique index within the block."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [constraint])
        (create,) = cursor.fetchone()
        cursor.execute(f'DROP INDEX "{constraint}"')
        yield
        cursor.execute("DELETE FROM projects_databasecluster")
        cursor.execute(create)
