"""Changes in the cluster that do not come from the panel."""

import uuid
from dataclasses import replace

from projects.domain.states import Origin, Phase
from projects.models import DatabaseCluster, Project
from tests.faults.evidence import Keepsake
from tests.faults.kinds import kind
from tests.faults.operator import secret_name
from tests.faults.run import PROJECT_ID, EndFault, Run
from tests.support.rest import Object


def _any(run: Run, plural: str) -> Object | None:
    """Return an object that a fault may change: one of a project that the panel created."""
    found = run.clusters() if plural == "clusters" else run.api.list(plural)
    kept = {one.uid for one in run.kept}
    ours = [item for item in found if item["metadata"]["uid"] not in kept]
    if plural not in ("clusters",):
        ours = [item for item in ours if PROJECT_ID in (item["metadata"].get("labels") or {})]
    return run.rng.choice(ours) if ours else None


def _in_pass_or_now(run: Run, happen: object) -> None:
    """Change it at once, or during a pass."""
    assert callable(happen)
    if run.rng.random() < 0.5:
        happen()
    else:
        run.gate.at_request(run.rng.randint(0, 10), happen, after=run.rng.random() < 0.5)


def _delete_one(run: Run, plural: str) -> None:
    item = _any(run, plural)
    if item is not None:
        run.api.delete(plural, item["metadata"]["name"])


@kind("Cluster deleted outside")
def cluster_deleted(run: Run) -> None:
    _in_pass_or_now(run, lambda: _delete_one(run, "clusters"))


@kind("adopted Cluster deleted outside")
def adopted_deleted(run: Run) -> None:
    """A user deletes an adopted Cluster."""
    for keepsake in sorted(run.kept, key=lambda one: one.name):
        if not keepsake.name.startswith("stranger"):
            run.kept.discard(keepsake)
            run.api.delete("clusters", keepsake.name)


@kind("sandbox deleted outside")
def sandbox_deleted(run: Run) -> None:
    _in_pass_or_now(run, lambda: _delete_one(run, "statefulsets"))


@kind("Service deleted outside")
def service_deleted(run: Run) -> None:
    _in_pass_or_now(run, lambda: _delete_one(run, "services"))


@kind("Cluster labeled as a stranger's")
def relabeled(run: Run) -> EndFault | None:
    """Another panel puts its label on the Cluster, permanently or for a while."""
    item, stranger = _any(run, "clusters"), str(uuid.UUID(int=run.rng.getrandbits(128)))
    if item is None:
        return None
    run.strangers.add(stranger)
    name, owner = item["metadata"]["name"], item["metadata"]["labels"][PROJECT_ID]
    run.api.patch("clusters", name, {"metadata": {"labels": {PROJECT_ID: stranger}}})
    if run.rng.random() < 0.5:
        run.kept = {one for one in run.kept if one.name != name}
        run.kept.add(Keepsake(run.namespace, name, item["metadata"]["uid"], stranger))
        return None

    def give_back() -> None:
        if run.api.get("clusters", name):
            run.api.patch("clusters", name, {"metadata": {"labels": {PROJECT_ID: owner}}})

    return give_back


@kind("one project's label on another's Cluster")
def claimed(run: Run) -> None:
    """Someone who may write Clusters labels the Cluster of one project as another's. Its owner requests a database, or
    the deletion of everything that has the label.
    """
    run.is_busy, run.ends = False, False
    victim, thief = run.projects[:2]
    for project in (victim, thief):
        run.people.provision(project)
    run.settle()
    row = DatabaseCluster.objects.filter(project=victim, retired_at=None, origin=Origin.CREATED).first()
    item = run.api.get("clusters", row.name) if row and row.object_uid else None
    if row is None or item is None:
        return
    run.api.patch("clusters", row.name, {"metadata": {"labels": {PROJECT_ID: str(thief.uid)}}})
    run.kept.add(Keepsake(run.namespace, row.name, row.object_uid, str(thief.uid)))
    run.orphans.add(row.object_uid)
    if run.rng.random() < 0.5:
        _delete_cluster_of(run, thief)
    request = run.people.delete if run.rng.random() < 0.6 else run.people.provision
    _in_pass_or_now(run, lambda: request(thief))


def _delete_cluster_of(run: Run, project: Project) -> None:
    """The project looks for another Cluster then."""
    if row := DatabaseCluster.objects.filter(project=project, retired_at=None).first():
        run.api.delete("clusters", row.name)


@kind("labels taken off a Cluster")
def unlabeled(run: Run) -> None:
    item = _any(run, "clusters")
    if item is not None:
        labels = dict.fromkeys(item["metadata"]["labels"])
        run.api.patch("clusters", item["metadata"]["name"], {"metadata": {"labels": labels}})


@kind("sandbox edited outside")
def sandbox_edited(run: Run) -> None:
    """A user sets another digest, as a restore of an old StatefulSet does."""
    item = _any(run, "statefulsets")
    if item is not None:
        annotations = {"controlpanel.fullstackagent.io/environment": "edited"}
        run.api.patch("statefulsets", item["metadata"]["name"], {"metadata": {"annotations": annotations}})


@kind("Cluster edited outside")
def cluster_edited(run: Run) -> None:
    """A user adds memory: the generation increases, and the operator follows."""
    item = _any(run, "clusters")
    if item is not None:
        components = [{**one, "replicas": 2} for one in item["spec"]["componentSpecs"]]
        run.api.patch("clusters", item["metadata"]["name"], {"spec": {"componentSpecs": components}})


def _account_secrets(run: Run) -> list[str]:
    names = [secret_name(item["metadata"]["name"]) for item in run.clusters()]
    return [name for name in names if run.api.get("secrets", name) is not None]


@kind("Secret deleted outside")
def secret_deleted(run: Run) -> None:
    def happen() -> None:
        if names := _account_secrets(run):
            run.api.delete("secrets", run.rng.choice(names))

    _in_pass_or_now(run, happen)


@kind("password changed outside")
def secret_changed(run: Run) -> None:
    def happen() -> None:
        for name in _account_secrets(run):
            run.operator.write_password(name.removesuffix("-postgresql-account-postgres"))

    _in_pass_or_now(run, happen)


def _spoil(run: Run, variant: str) -> EndFault:
    run.operator.secret_variant = variant

    def mend() -> None:
        run.operator.secret_variant = ""

    return mend


@kind("Secret late")
def secret_late(run: Run) -> EndFault:
    return _spoil(run, "late")


@kind("Secret with an empty password")
def secret_empty(run: Run) -> EndFault:
    return _spoil(run, "empty")


@kind("half a Secret")
def secret_half(run: Run) -> EndFault:
    return _spoil(run, "half")


@kind("database fails and comes back")
def fails(run: Run) -> EndFault:
    run.operator.fails = True

    def heal() -> None:
        run.operator.fails = False

    return heal


@kind("operator asleep past every deadline")
def asleep(run: Run) -> EndFault:
    work = run.operator.step
    run.operator.step = lambda: False  # type: ignore[method-assign]
    run.clock.advance(run.rng.choice([30, 130, 400]))

    def wake() -> None:
        run.operator.step = work  # type: ignore[method-assign]

    return wake


@kind("deletion that does not end")
def stuck(run: Run) -> EndFault:
    run.operator.holds_deletions = True
    run.people.delete(run.rng.choice(run.projects))
    if run.rng.random() < 0.5:
        for _ in range(12):
            run.worker.run_all()
            run.sweep()
            run.clock.advance(30)

    def let_go() -> None:
        run.operator.holds_deletions = False

    return let_go


@kind("a stranger's label on a Cluster of the project's name")
def namesake(run: Run) -> None:
    """Another panel creates a Cluster of the name that a project looks for."""
    stranger = str(uuid.UUID(int=run.rng.getrandbits(128)))
    run.strangers.add(stranger)
    project = run.people.add(f"n{run.number}")
    assert project is not None
    run.make_cluster(project.kubernetes_name, **{PROJECT_ID: stranger})
    run.projects.append(project)
    run.people.provision(project)


@kind("Cluster made from the manifest of a project's")
def copied(run: Run) -> None:
    """A user copies a manifest with the project's label. The copy is not the project's database and may not be
    deleted.
    """
    project = run.rng.choice(run.projects)
    run.people.provision(project)
    run.settle()
    if not Project.objects.filter(pk=project.pk, phase=Phase.RUNNING).exists():
        return
    copy = run.make_cluster(f"copy-{run.number}", **{PROJECT_ID: str(project.uid)})
    run.kept.discard(copy)
    # The panel may remove its label.
    run.kept.add(replace(copy, owner=""))
    run.orphans.add(copy.uid)
    _in_pass_or_now(run, lambda: run.people.delete(project))
