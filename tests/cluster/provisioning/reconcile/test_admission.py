"""Drift next to admission webhooks, and drift that keeps coming back."""

from datetime import timedelta

import pytest
from django.utils import timezone

from projects.domain.states import DriftPolicy, Phase, Reason
from projects.models import Project, Sandbox
from provisioning.kube.client import connect
from provisioning.kube.kinds import STATEFULSET
from provisioning.reconcile.drift import REVERTED
from provisioning.reconcile.loop import run_pass
from tests.support.admission import Admission, admitting
from tests.support.cluster_objects import change, start
from tests.support.kubeconfig import load_kubeconfig, write_kubeconfig
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db
GRACE = "terminationGracePeriodSeconds"


@pytest.fixture
def admission(cluster, use_cluster, tmp_path):
    """The embedded cluster behind admission webhooks."""
    access = load_kubeconfig(cluster.kubeconfig, tmp_path)
    with admitting(access, Admission()) as behind:
        use_cluster(write_kubeconfig(tmp_path / "kubeconfig", {"server": behind.url}, {"token": access.token}))
        yield behind


def mirror(body, is_new=True) -> None:
    """Rewrite the images, add a sidecar, and raise a request, as registry mirrors, meshes and LimitRanges do."""
    pod = body["spec"]["template"]["spec"]
    container = pod["containers"][0]
    container["image"] = f"mirror.example.com/{container['image']}"
    container["resources"]["requests"]["cpu"] = "75m"
    pod["containers"].append({"name": "mesh", "image": "mesh:1", "resources": container["resources"]})


def only_new(body, is_new) -> None:
    if is_new:
        mirror(body)


def checked(project: Project) -> Project:
    run_pass(project.pk)
    return Project.objects.with_resources().get(pk=project.pk)


def reverts(project: Project) -> int:
    return project.events.filter(reason=REVERTED).count()


def lengthen(project: Project) -> None:
    change(STATEFULSET, project.sandbox.name, {"spec": {"template": {"spec": {GRACE: 99}}}})


def is_longer(project: Project) -> bool:
    live = connect().get_or_none(STATEFULSET, "default", project.sandbox.name)
    return bool(live["spec"]["template"]["spec"][GRACE] == 99)


@pytest.mark.parametrize("mutate", [only_new, mirror], ids=["at creation only", "at each write"])
@pytest.mark.parametrize("supports_dry_run", [True, False])
def test_what_admission_adds_is_no_drift(admission, unique_name, mutate, supports_dry_run):
    admission.mutate, admission.supports_dry_run = mutate, supports_dry_run
    project = checked(follow(start(unique_name), is_running))
    assert (project.reason, project.drift, reverts(project)) == (Reason.READY, [], 0)
    assert "mirror.example.com" in str(connect().get_or_none(STATEFULSET, "default", project.sandbox.name))


@pytest.mark.parametrize("mutate", [only_new, mirror], ids=["at creation only", "at each write"])
def test_change_is_reverted_without_dry_runs(admission, unique_name, mutate):
    admission.mutate, admission.supports_dry_run = mutate, False
    project = follow(start(unique_name), is_running)
    lengthen(project)
    project = follow(project, lambda p: reverts(p) == 1 and p.reason == Reason.READY)
    project = checked(project)
    assert (project.drift, reverts(project), is_longer(project)) == ([], 1, False)


def scale_down(project: Project) -> None:
    """Scale the sandbox to 0 as a downscaler does, a minute after it was applied."""
    change(STATEFULSET, project.sandbox.name, {"spec": {"replicas": 0}})
    Sandbox.objects.filter(project=project).update(applied_at=timezone.now() - timedelta(minutes=1))


def test_drift_that_comes_back_is_named_as_the_cause(provisioned):
    def is_contested(project: Project) -> bool:
        scale_down(project)
        return "reverted this several times" in project.message

    project = follow(provisioned, is_contested)
    assert (project.phase, project.reason) == (Phase.CREATING, Reason.DRIFTED)
    assert "spec.replicas: applied 1, now 0" in project.message
    assert reverts(project) == 3
    Sandbox.objects.filter(project=project).update(deadline=timezone.now())
    project = checked(project)
    assert (project.phase, project.reason) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "spec.replicas: applied 1, now 0" in project.message


def test_reported_drift_is_named_as_the_cause(provisioned):
    Project.objects.filter(pk=provisioned.pk).update(drift_policy=DriftPolicy.REPORT)
    scale_down(provisioned)
    project = follow(provisioned, lambda p: p.phase == Phase.CREATING)
    project = follow(project, lambda p: "now 0" in p.message)
    assert project.reason == Reason.DRIFTED
    assert "The drift policy is Report only." in project.message
    assert reverts(project) == 0
