"""The HTMX pages: access, requests, the add form, the list."""

import re
import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils.html import escape
from django_q.models import OrmQ

from projects.domain.request_policy import Request, find_refusal
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

# --- Access ----------------------------------------------------------------------------------------------------

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
def test_page_needs_its_permission(method, name, permission):
    project = provisioned_project()
    url = page(name) if name in ("list", "add") else page(name, project.pk)
    data = {"reason": "to test"}

    anonymous = getattr(Client(), method)(url, data)
    assert anonymous.status_code == 302
    assert anonymous.url.startswith(reverse("admin:login"))

    everything = ["view_project", "add_project", "provision_project", "delete_project", "reveal_credentials"]
    lacking = log_in(*(codename for codename in everything if codename != permission))
    # 404, not 403: a user who can't view a project must not learn that it exists.
    assert getattr(lacking, method)(url, data).status_code == (404 if permission == "view_project" else 403)

    allowed = Client()
    allowed.force_login(UserFactory.create(permissions=["view_project", permission]))
    assert getattr(allowed, method)(url, data).status_code in (200, 302)

    not_staff = Client()
    not_staff.force_login(UserFactory.create(permissions=everything, is_staff=False))
    assert getattr(not_staff, method)(url, data).status_code == 403


def test_fragment_of_a_logged_out_user_redirects_the_whole_page_to_the_log_in():
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
    assert 'data-error="csrf"' in response.content.decode()
    assert not OrmQ.objects.exists()


def test_unknown_project_is_a_404_page():
    response = log_in("view_project").get(page("detail", 4711))
    assert response.status_code == 404
    assert 'data-error="404"' in response.content.decode()


# --- Requests --------------------------------------------------------------------------------------------------


def test_provision_enqueues_one_task_and_shows_the_outcome():
    project = ProjectFactory.create(name="aaa")
    client = log_in("view_project", "provision_project")
    for _ in range(2):
        response = client.post(page("provision", project.pk), headers=HTMX)
        assert response.status_code == 200
    project.refresh_from_db()
    assert project.desired_state == DesiredState.RUNNING
    assert [task.func() for task in OrmQ.objects.all()] == ["provisioning.tasks.reconcile_project"]
    assert OrmQ.objects.get().task["args"] == (project.pk,)
    event = Event.objects.get()
    assert (event.actor, event.reason) == ("maria", "Requested")
    assert 'data-outcome="accepted"' in response.content.decode()
    assert response.headers["HX-Trigger"] == '{"projects-changed": {}}'


def test_request_without_htmx_redirects_to_the_project():
    project = ProjectFactory.create(name="aaa")
    response = log_in("view_project", "provision_project").post(page("provision", project.pk), follow=True)
    assert response.redirect_chain == [(page("detail", project.pk), 302)]
    (message,) = response.context["messages"]
    assert message.level_tag == "success"


def test_retry_of_a_new_project_is_refused():
    project = ProjectFactory.create(name="aaa")
    response = log_in("view_project", "provision_project").post(page("retry", project.pk), headers=HTMX)
    body = response.content.decode()
    assert 'data-outcome="refused"' in body
    assert escape(str(find_refusal(Request.RETRY, project))) in body
    assert not OrmQ.objects.exists()


def test_delete_page_lists_what_is_deleted_and_kept():
    created = provisioned_project(name="aaa")
    adopted = ProjectFactory.create(running=True, name="bbb")
    DatabaseFactory.create(project=adopted, captured=True, origin="adopted")
    client = log_in("view_project", "delete_project")

    body = client.get(page("delete", created.pk)).content.decode()
    assert "aaa-agentruntime-abc123</strong> and all its data will be deleted" in body
    assert "delete_adopted" not in body

    body = client.get(page("delete", adopted.pk)).content.decode()
    assert "was adopted: it will be released and kept" in body
    assert "delete_adopted" in body


@pytest.mark.parametrize(("data", "expected"), [({}, False), ({"delete_adopted": "yes"}, True)])
def test_adopted_database_is_deleted_only_on_request(data, expected):
    project = ProjectFactory.create(running=True)
    DatabaseFactory.create(project=project, captured=True, origin="adopted")
    response = log_in("view_project", "delete_project").post(page("delete", project.pk), data)
    assert response.status_code == 302
    project.refresh_from_db()
    assert (project.desired_state, project.delete_adopted) == (DesiredState.DELETED, expected)
    assert OrmQ.objects.count() == 1


def test_buttons_follow_state_and_permissions():
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

INVALID_NAMES = [
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
    ("taken_", "Choose another name."),
]


@pytest.mark.parametrize(("name", "error"), INVALID_NAMES)
def test_invalid_name_shows_an_error(name, error):
    ProjectFactory.create(name="taken")
    response = log_in("view_project", "add_project").post(page("add"), {"name": name})
    assert response.status_code == 200
    body = response.content.decode()
    assert error in body
    assert "<script>alert" not in body
    assert Project.objects.count() == 1


def test_user_owns_the_project_they_add():
    client = log_in("view_project", "add_project")
    response = client.post(page("add"), {"name": "  Web   Shop ", "description": "Checkout", "namespace": ""})
    project = Project.objects.get()
    assert response.headers["Location"] == page("detail", project.pk)
    assert (project.name, project.kubernetes_name, project.namespace) == ("Web Shop", "web-shop", "default")
    assert project.owner is not None
    assert project.owner.username == "maria"
    event = project.events.get()
    assert (event.actor, event.reason) == ("maria", "Registered")


@pytest.mark.django_db(transaction=True)
def test_concurrent_adds_of_one_name_make_one_project_and_one_error():
    """Both pass the check before either inserts: the constraint decides, and the loser gets an error."""
    both_checked = threading.Barrier(2, timeout=20)
    client = log_in("view_project", "add_project")
    answers: list[Any] = []
    inserted: list[bool] = []

    def add() -> None:
        mine = Client()
        mine.cookies = client.cookies
        steps: list[str] = []

        def insert_together(execute: Any, sql: str, *arguments: Any) -> Any:
            if sql.startswith("SELECT") and '"kubernetes_name" = ' in sql:
                steps.append("checked")
            # SQLite's BEGIN takes the lock already.
            elif "checked" in steps and sql.startswith(("BEGIN", 'INSERT INTO "projects_project"')):
                if "inserts" not in steps:
                    both_checked.wait()
                steps.append("inserts")
            return execute(sql, *arguments)

        try:
            with connection.execute_wrapper(insert_together):
                answers.append(mine.post(page("add"), {"name": "aaa"}))
            inserted.append("inserts" in steps)
        finally:
            connection.close()

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert inserted == [True, True]
    assert sorted(answer.status_code for answer in answers) == [200, 302]
    assert Project.objects.count() == 1
    loser = next(answer for answer in answers if answer.status_code == 200)
    assert loser.context["form"].has_error("name")
    assert "Choose another name." in loser.content.decode()


def test_invalid_namespace_shows_an_error():
    response = log_in("view_project", "add_project").post(page("add"), {"name": "aaa", "namespace": "Kube System!"})
    assert response.status_code == 200
    assert response.context["form"].has_error("namespace", "invalid")


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


def test_empty_lists_are_explained():
    client = log_in("view_project", "add_project")
    body = client.get(page("list")).content.decode()
    assert 'data-empty="all"' in body
    assert page("add") in body
    ProjectFactory.create(name="aaa")
    assert 'data-empty="search"' in client.get(page("list") + "?q=zzz").content.decode()


def test_only_http_urls_of_a_sandbox_are_links():
    sandbox = SandboxFactory.create(urls={"app": "http://a.example.org/", "evil": "javascript:alert(1)"})
    body = log_in("view_project").get(page("detail", sandbox.project.pk)).content.decode()
    assert 'href="http://a.example.org/"' in body
    assert "javascript:" not in body


def test_number_of_queries_does_not_grow_with_rows(django_assert_max_num_queries):
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


def test_missing_component_is_reported_on_every_page(settings):
    settings.PANEL_HEALTH = "tests.support.health.read_without_watcher"
    project = ProjectFactory.create()
    client = log_in("view_project")
    change = reverse("admin:projects_project_change", args=[project.pk])
    lists = [reverse(f"admin:projects_{name}_changelist") for name in ("project", "databasecluster", "event")]
    for url in (page("list"), page("detail", project.pk), reverse("admin:index"), change, *lists):
        assert client.get(url).content.decode().count("The watcher is not running.") == 1, url
    settings.PANEL_HEALTH = "tests.support.health.read_all_well"
    assert "The watcher is not running." not in client.get(page("list")).content.decode()


def test_open_page_learns_of_a_missing_component(settings):
    client = log_in("view_project")
    settings.PANEL_HEALTH = "tests.support.health.read_all_well"
    shown = client.get(reverse("admin:projects_project_changelist")).content.decode()
    refresh = re.search(r'hx-get="(/projects/warnings/[^"]+)"', shown)
    assert refresh is not None
    assert client.get(refresh[1], headers=HTMX).status_code == 204
    settings.PANEL_HEALTH = "tests.support.health.read_without_watcher"
    assert "The watcher is not running." in client.get(refresh[1], headers=HTMX).content.decode()
