"""The admin's page of orphaned objects."""

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from projects.models import Orphan
from tests.support.pages import log_in


@pytest.mark.django_db
def test_deletion_of_an_orphan_is_confirmed_and_enqueued():
    row = Orphan.objects.create(
        kind="Cluster",
        namespace="default",
        name="left",
        uid="u",
        labelled_as="bbb",
        explanation="It has the label of bbb, which this panel does not know.",
        is_foreign=True,
        is_deletable=True,
        is_releasable=True,
        seen_at=timezone.now(),
    )
    client = log_in("view_project", "delete_project")
    listed = client.get("/admin/projects/orphan/").content.decode()
    assert "From another panel?" in listed
    address = f"/admin/projects/orphan/{row.pk}/delete/"
    assert 'name="is_sure" value="yes" required' in client.get(address).content.decode()
    client.post(address, {"confirmed": "yes"})
    row.refresh_from_db()
    assert row.requested_action == ""
    client.post(address, {"confirmed": "yes", "is_sure": "yes"})
    row.refresh_from_db()
    assert (row.requested_action, row.requested_by) == ("delete", "maria")
    assert "provisioning.tasks.end_orphan" in [task.task["func"] for task in OrmQ.objects.all()]
    listed = client.get("/admin/projects/orphan/").content.decode()
    assert "Delete requested by maria." in listed
    assert "Deletion of Cluster default/left started." in listed
