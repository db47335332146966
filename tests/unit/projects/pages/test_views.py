"""The HTMX pages: who gets in, what they request, what they list."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ

from projects.domain.states import DesiredState
from projects.models import Event, Project
from tests.factories import (
    DatabaseFactory,
    EventFactory,
    ProjectFactory,
    SandboxFactory,
    UserFactory,
    provisioned_project,
)
from tests.support.pages import HTMX, log_in, page

pytestmark = pytest.mark.django_db

# --- Who gets in -----------------------------------------------------------------------------------------------

GUARDED = [
    ("get", "add", "add_project"),
    ("get", "detail", "view_project"),
    ("get", "status", "view_project"),
    ("get", "credentials", "view_project"),
    ("post", "credentials", "reveal_credentials"),
    ("post", "provision", "provision_project"),
    ("post", "retry", "provision_project"),
    ("post", "cancel", "provision_project"),
    ("get", "forget", "delete_project"),
    ("post", "forget", "delete_project"),
    ("get", "delete", "delete_project"),
    ("post", "delete", "delete_project"),
]


@pytest.mark.parametrize(("method", "name", "permission"), GUARDED)
def test_access(method, name, permission):
    project = provisioned_project()
    url = page(name) if name in ("list", "add") else page(name, project.pk)
    data = {"reason": "to test"}

    anonymous = getattr(Client(), method)(url, data)
    assert anonymous.status_code == 302
    assert anonymous.url.startswith(reverse("admin:login"))

    everything = ["view_project", "add_project", "provision_project", "delete_project", "reveal_credentials"]
    lacking = log_in(*(codename for codename in everything if codename != permission))
    # Who sees no project but their own is not told that there is this one.
    assert getattr(lacking, method)(url, data).status_code == (404 if permission == "view_project" else 403)

    allowed = Client()
    allowed.force_login(UserFactory.create(permissions=["view_project", permission]))
    assert getattr(allowed, method)(url, data).status_code in (200, 302)

    not_staff = Client()
    not_staff.force_login(UserFactory.create(permissions=everything, is_staff=False))
    assert getattr(not_staff, method)(url, data).status_code == 403


def test_a_fragment_of_someone_logged_out_goes_to_the_login_page_as_a_whole():
    project = ProjectFactory.create()
    response = Client().get(
        page("status", project.pk), headers={**HTMX, "HX-Current-URL": f"http://testserver{page('detail', project.pk)}"}
    )
    assert response.status_code == 200
    assert response.headers["HX-Redirect"] == f"{reverse('admin:login')}?next={page('detail', project.pk)}"
    assert b"<form" not in response.content


@pytest.mark.parametrize("name", ["provision", "retry", "delete"])
def test_get_changes_nothing(name):
    project = ProjectFactory.create(running=True)
    client = log_in("view_project", "provision_project", "delete_project")
    response = client.get(page(name, project.pk))
    assert response.status_code == (200 if name == "delete" else 405)
    assert Project.objects.values().get(pk=project.pk) == {
        key: value for key, value in vars(project).items() if not key.startswith("_")
    }
    assert not OrmQ.objects.exists()
    assert not Event.objects.exists()


def test_requests_need_a_csrf_token():
    project = ProjectFactory.create()
    client = Client(enforce_csrf_checks=True)
    client.force_login(UserFactory.create(permissions=["view_project", "provision_project"]))
    response = client.post(page("provision", project.pk))
    assert response.status_code == 403
    assert "This form is too old" in response.content.decode()
    assert not OrmQ.objects.exists()


def test_unknown_project_is_a_page_that_says_so():
    response = log_in("view_project").get(page("detail", 4711))
    assert response.status_code == 404
    assert "There is no such page" in response.content.decode()


# --- Requests --------------------------------------------------------------------------------------------------


def test_provision_puts_one_task_in_the_queue_and_says_so():
    project = ProjectFactory.create(name="aaa")
    client = log_in("view_project", "provision_project")
    for _ in range(2):
        response = client.post(page("provision", project.pk), headers=HTMX)
        assert response.status_code == 200
    project.refresh_from_db()
    assert project.desired_state == DesiredState.RUNNING
    assert [task.func() for task in OrmQ.objects.all()] == ["provisioning.tasks.reconcile_project"]
    assert OrmQ.objects.get().task["args"] == (project.pk,)
    assert Event.objects.get().message == "maria requested a database and a sandbox."
    assert "aaa is already being provisioned" in response.content.decode()
    assert response.headers["HX-Trigger"] == '{"projects-changed": {}}'


def test_without_htmx_a_request_leads_back_to_the_page():
    project = ProjectFactory.create(name="aaa")
    response = log_in("view_project", "provision_project").post(page("provision", project.pk), follow=True)
    assert response.redirect_chain == [(page("detail", project.pk), 302)]
    assert "aaa: provisioning started." in response.content.decode()


def test_retry_of_what_was_never_asked_for_is_refused_in_a_sentence():
    project = ProjectFactory.create(name="aaa")
    response = log_in("view_project", "provision_project").post(page("retry", project.pk), headers=HTMX)
    assert "aaa is not provisioned. Press Provision instead." in response.content.decode()
    assert not OrmQ.objects.exists()


def test_deletion_says_what_is_deleted_and_what_is_kept():
    created = provisioned_project(name="aaa")
    adopted = ProjectFactory.create(running=True, name="bbb")
    DatabaseFactory.create(project=adopted, captured=True, origin="adopted")
    client = log_in("view_project", "delete_project")

    body = client.get(page("delete", created.pk)).content.decode()
    assert "aaa-agentruntime-abc123</strong> will be deleted with all of its data" in body
    assert "delete_adopted" not in body

    body = client.get(page("delete", adopted.pk)).content.decode()
    assert "was adopted: it is released and kept" in body
    assert "delete_adopted" in body


@pytest.mark.parametrize(("data", "expected"), [({}, False), ({"delete_adopted": "yes"}, True)])
def test_adopted_databases_are_deleted_only_when_ticked(data, expected):
    project = ProjectFactory.create(running=True)
    DatabaseFactory.create(project=project, captured=True, origin="adopted")
    response = log_in("view_project", "delete_project").post(page("delete", project.pk), data)
    assert response.status_code == 302
    project.refresh_from_db()
    assert (project.desired_state, project.delete_adopted) == (DesiredState.DELETED, expected)
    assert OrmQ.objects.count() == 1


def test_buttons_are_those_that_make_sense_and_are_allowed():
    project = ProjectFactory.create(failed=True)
    body = (
        log_in("view_project", "provision_project", "delete_project").get(page("detail", project.pk)).content.decode()
    )
    assert page("retry", project.pk) in body
    assert page("delete", project.pk) in body
    assert page("provision", project.pk) not in body

    looker = Client()
    looker.force_login(UserFactory.create(permissions=["view_project"]))
    body = looker.get(page("detail", project.pk)).content.decode()
    assert page("retry", project.pk) not in body
    assert page("delete", project.pk) not in body


# --- Adding ----------------------------------------------------------------------------------------------------

HOSTILE = [
    ("", "The name is empty"),
    ("   ", "The name is empty"),
    ("x" * 300, "The name has 300 characters. Shorten it to 60 or fewer."),
    ("../x", "characters that can&#x27;t be used: /"),
    ("<script>alert(1)</script>", "characters that can&#x27;t be used"),
    ("a: {b: c}", "characters that can&#x27;t be used"),
    ("$(reboot)", "characters that can&#x27;t be used"),
    ("a;b", "characters that can&#x27;t be used: ;"),
    ("a\0b", "characters that can&#x27;t be used: U+0000"),
    ("漢字", "no letter a-z and no digit"),
    ("-aaa", "has to start with a letter or a digit"),
    ("Taken!", "characters that can&#x27;t be used: !"),
    ("TAKEN", "is &#x27;taken&#x27; in Kubernetes, and so is the project &#x27;taken&#x27;"),
    ("ta_ken", "Choose another name."),
]


@pytest.mark.parametrize(("name", "sentence"), HOSTILE)
def test_names_that_cannot_be_used_get_a_sentence(name, sentence):
    ProjectFactory.create(name="taken")
    response = log_in("view_project", "add_project").post(page("add"), {"name": name})
    assert response.status_code == 200
    body = response.content.decode()
    assert sentence in body
    assert "<script>alert" not in body
    assert Project.objects.count() == 1


def test_whoever_adds_a_project_owns_it():
    client = log_in("view_project", "add_project")
    response = client.post(page("add"), {"name": "  Web   Shop ", "description": "Checkout", "namespace": ""})
    project = Project.objects.get()
    assert response.headers["Location"] == page("detail", project.pk)
    assert (project.name, project.kubernetes_name, project.namespace) == ("Web Shop", "webshop", "default")
    assert project.owner is not None
    assert project.owner.username == "maria"
    assert project.events.get().message == "maria added the project."


@pytest.mark.django_db(transaction=True)
def test_two_adds_of_one_name_at_once_make_one_project_and_one_sentence(monkeypatch):
    """Both pass the check before either inserts: the constraint decides, and the loser reads a sentence."""
    both_checked = threading.Barrier(2, timeout=20)
    full_clean = Project.full_clean

    def check_together(self: Project, *args: Any, **kwargs: Any) -> None:
        full_clean(self, *args, **kwargs)
        if self.namespace == "checked-by-the-service":
            both_checked.wait()

    monkeypatch.setattr(Project, "full_clean", check_together)
    client = log_in("view_project", "add_project")
    answers = []

    def add() -> None:
        mine = Client()
        mine.cookies = client.cookies
        try:
            answers.append(mine.post(page("add"), {"name": "aaa", "namespace": "checked-by-the-service"}))
        finally:
            connection.close()

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answer.status_code for answer in answers) == [200, 302]
    assert Project.objects.count() == 1
    loser = next(answer for answer in answers if answer.status_code == 200)
    assert "There is a project &#x27;aaa&#x27; already. Choose another name." in loser.content.decode()


def test_a_bad_namespace_gets_a_sentence():
    response = log_in("view_project", "add_project").post(page("add"), {"name": "aaa", "namespace": "Kube System!"})
    assert response.status_code == 200
    assert "A namespace has up to 63 lower-case letters" in response.content.decode()


# --- The list --------------------------------------------------------------------------------------------------


def test_search_and_phase_filter():
    owner = UserFactory.create(username="zoe")
    ProjectFactory.create(name="alpha", owner=owner)
    ProjectFactory.create(name="beta", failed=True)
    ProjectFactory.create(name="gamma", deleted=True)
    client = log_in("view_project")

    def names(query: str) -> list[str]:
        return [project.name for project, _ in client.get(page("list") + query).context["rows"]]

    assert names("") == ["alpha", "beta"]
    assert names("?q=ALP") == ["alpha"]
    assert names("?q=zoe") == ["alpha"]
    assert names("?phase=Failed") == ["beta"]
    assert names("?phase=Deleted") == ["gamma"]
    assert names("?phase=%3Cscript%3E&page=x") == ["alpha", "beta"]
    assert names("?q=%00%27%22%3Cscript%3E") == []


def test_empty_states_say_what_to_press():
    client = log_in("view_project", "add_project")
    body = client.get(page("list")).content.decode()
    assert "No projects yet" in body
    assert page("add") in body
    ProjectFactory.create(name="aaa")
    assert "No project matches" in client.get(page("list") + "?q=zzz").content.decode()


def test_urls_of_a_sandbox_are_links_only_when_they_are_web_addresses():
    sandbox = SandboxFactory.create(urls={"app": "http://a.example.org/", "evil": "javascript:alert(1)"})
    body = log_in("view_project").get(page("detail", sandbox.project.pk)).content.decode()
    assert 'href="http://a.example.org/"' in body
    assert "javascript:" not in body


def test_queries_do_not_grow_with_rows(django_assert_max_num_queries):
    client = log_in("view_project", "provision_project")
    for _ in range(25):
        EventFactory.create(project=provisioned_project(owner=UserFactory.create()))
    with django_assert_max_num_queries(10):
        client.get(page("list"))
    project = Project.objects.first()
    assert project is not None
    with django_assert_max_num_queries(10):
        client.get(page("detail", project.pk))
    with django_assert_max_num_queries(10):
        client.get(page("status", project.pk), headers=HTMX)


def test_a_part_of_the_panel_that_is_missing_is_said_on_every_page(settings):
    settings.PANEL_HEALTH = "tests.support.health.read_without_watcher"
    project = ProjectFactory.create()
    client = log_in("view_project")
    for url in (page("list"), page("detail", project.pk), reverse("admin:index")):
        assert "The watcher is not running." in client.get(url).content.decode(), url
    settings.PANEL_HEALTH = "tests.support.health.read_all_well"
    assert "The watcher is not running." not in client.get(page("list")).content.decode()
