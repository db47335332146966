"""Users who press any button at any time."""

from functools import partial

from projects.confidential.redaction import MASK
from projects.models import Event, Project
from tests.faults.kinds import kind
from tests.faults.run import EndFault, Run

_REQUESTS = 12


@kind("two people press everything")
def everything(run: Run) -> None:
    for _ in range(run.rng.randint(4, 12)):
        run.rng.choice(run.people.buttons)(run.rng.choice(run.projects))
        if run.rng.random() < 0.5:
            run.step()


@kind("buttons pressed in the middle of a pass")
def in_pass(run: Run) -> None:
    for _ in range(run.rng.randint(1, 4)):
        button, project = run.rng.choice(run.people.buttons), run.rng.choice(run.projects)
        run.gate.at_request(
            run.rng.randint(0, _REQUESTS),
            partial(button, project),
            after=run.rng.random() < 0.5,
        )


@kind("buttons pressed between two statements")
def between_statements(run: Run) -> None:
    """A button is pressed outside of transactions: the database serializes what happens within one."""
    from django.db import connection

    button, project = run.rng.choice(run.people.buttons), run.rng.choice(run.projects)

    def press() -> None:
        if connection.in_atomic_block:
            run.gate.at_statement(0, press)
        else:
            button(project)

    run.gate.at_statement(run.rng.randint(0, 60), press)


@kind("delete during create")
def delete_during_create(run: Run) -> None:
    project = run.rng.choice(run.projects)
    run.people.provision(project)

    def delete() -> None:
        before = Project.objects.get(pk=project.pk).wanted_generation
        run.people.delete(project)
        project.refresh_from_db()
        # If it was already being deleted, the pass has the newest intent and may continue.
        if project.lease_token and project.wanted_generation > before:
            run.guard()

    run.gate.at_request(run.rng.randint(0, _REQUESTS), delete, after=run.rng.random() < 0.5)
    for _ in range(12):
        run.worker.run_one()


@kind("cancel during create")
def cancel_during_create(run: Run) -> None:
    """The project is cancelled and provisioned again, as after a corrected mistake."""
    project = run.rng.choice(run.projects)
    run.people.provision(project)
    run.gate.at_request(run.rng.randint(0, _REQUESTS), lambda: run.people.cancel(project), after=run.rng.random() < 0.5)
    for _ in range(run.rng.randint(0, 10)):
        run.step()
    run.people.provision(project)


@kind("forgotten while out of reach")
def forgotten(run: Run) -> EndFault:
    rule = run.faults.add("reset-before", user="admin")
    project = run.rng.choice(run.projects)
    run.people.delete(project)
    for _ in range(run.rng.randint(0, 10)):
        run.step()
    run.people.forget(project)
    return lambda: run.faults.remove(rule.id)


@kind("provision pressed many times")
def many_times(run: Run) -> None:
    for _ in range(20):
        run.people.provision(run.rng.choice(run.projects))


@kind("retry pressed at every step")
def retry_storm(run: Run) -> None:
    for _ in range(8):
        run.people.retry(run.rng.choice(run.projects))
        run.step()


@kind("name used again")
def name_again(run: Run) -> None:
    """The name of a deleted project is used again, and names that are the same in Kubernetes."""
    project = run.rng.choice(run.projects)
    run.people.delete(project)
    for _ in range(run.rng.randint(0, 8)):
        run.step()
    for name in (project.name, project.name.upper()):
        assert run.people.add(name) is None, "A Kubernetes name was given out twice."


@kind("adopt what another project adopts")
def adopt_twice(run: Run) -> None:
    cluster = run.make_cluster(f"adopt-{run.number}")
    for name in (f"x{run.number}", f"y{run.number}"):
        project = run.people.add(name)
        if project is not None:
            run.projects.append(project)
            run.people.adopt(project, cluster.name)
    run.gate.at_request(run.rng.randint(0, _REQUESTS), lambda: run.people.delete(run.projects[-1]), after=True)


@kind("adopt a stranger's")
def adopt_stranger(run: Run) -> None:
    for project in run.projects:
        run.people.adopt(project, f"stranger-{run.number}")


@kind("new password asked for, database out of reach")
def password_out_of_reach(run: Run) -> None:
    """No host name of a run's Services resolves: the panel can't rotate the password, and must not lose the current
    one.
    """
    for project in run.projects:
        run.people.provision(project)
    run.settle()
    for project in run.projects:
        run.people.change_password(project)


@kind("a variable whose value is a word of the log")
def word_of_the_log(run: Run) -> None:
    """A user sets variables to values of other projects' records, so that these are masked."""
    tenant = run.projects[0]
    for word in ("agentruntime", "StatefulSet", "Provisioning"):
        run.people.change_variable(tenant, word)
        run.people.provision(tenant)
        run.settle()

    def find_masked() -> list[str]:
        events = Event.objects.exclude(project=tenant).filter(message__contains=MASK)
        return [
            f"A variable of {tenant.name} masks an event of {event.project.name}: {event.message}" for event in events
        ]

    run.checks.append(find_masked)
