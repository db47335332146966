"""Hostile requests of pages and forms: no page breaks, no input is lost, and nothing runs."""

from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task
from hypothesis import given, note
from hypothesis import strategies as st

from projects.models import Event, FoundCluster, Project, ProjectVariable, SandboxTemplate
from tests.factories import EventFactory, ProjectFactory, VariableFactory, provisioned_project
from tests.hostile.pages import Form, addresses, forms_of, patterns, rows, send
from tests.hostile.strategies import MEGABYTE, TEXTS, examples, texts, undone

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:Generating overly large repr")]

METHODS = ("POST", "DELETE", "TRACE", "BREW")
# Parameters that a list, filter, fragment or form reads, and one that none reads.
PARAMETERS = (
    *(
        "q",
        "p",
        "page",
        "o",
        "e",
        "all",
        "phase",
        "rows",
        "credentials",
        "namespace",
        "namespace__in",
        "owner__id__exact",
    ),
    *(
        "desired_state__exact",
        "project__id__exact",
        "level__exact",
        "at__gte",
        "seen",
        "captured",
        "next",
        "term",
        "app_label",
    ),
    *(
        "model_name",
        "field_name",
        "_popup",
        "_to_field",
        "_changelist_filters",
        "_facets",
        "name",
        "owner",
        "nonsense__x",
    ),
)
# Text that a template has to escape, as it would look unescaped.
UNESCAPED = ("<script>alert(1)", "<img src=x", "'><img", '"><img')


@dataclass
class Panel:
    """Rows of every kind, and a user with all permissions."""

    user: User
    ids: dict[str, object]
    forms: list[tuple[str, Form]] = field(default_factory=list, repr=False)

    def client(self, *, enforce_csrf_checks: bool = False) -> Client:
        client = Client(enforce_csrf_checks=enforce_csrf_checks)
        client.force_login(self.user)
        return client


@pytest.fixture
def panel() -> Panel:
    user = User.objects.create_superuser("root", password="a-good-one-2026")
    template = SandboxTemplate.objects.create(name="web", image="registry.example.org/web:1")
    project = ProjectFactory.create(name="registered", owner=user, template=template)
    VariableFactory.create(project=project, name="TOKEN")
    running = provisioned_project(name="running", owner=user)
    event = EventFactory.create(project=running, message=" ".join(TEXTS[11:17]))
    async_task("provisioning.tasks.beat")
    found = FoundCluster.objects.create(
        namespace="default", name="found", uid="1", api_version="apps.kubeblocks.io/v1", seen_at=timezone.now()
    )
    return Panel(
        user,
        {
            "project": project.pk,
            "databasecluster": running.databases.get().pk,
            "sandbox": running.sandboxes.get().pk,
            "event": event.pk,
            "sandboxtemplate": template.pk,
            "foundcluster": found.pk,
            "user": user.pk,
            "group": Group.objects.get_or_create(name="Somebody")[0].pk,
            "ormq": OrmQ.objects.first().pk,
            "schedule": Schedule.objects.create(func="provisioning.tasks.beat").pk,
        },
    )


def assert_harmless(response) -> str:
    """Assert that the page did not break and that no input became part of its markup; return the page."""
    assert response.status_code < 500 or response.status_code == 503
    assert "\n" not in str(response.headers.get("Location", ""))
    if response.streaming or "html" not in response.headers.get("Content-Type", ""):
        return ""
    page: str = response.content.decode()
    for piece in UNESCAPED:
        assert piece not in page
    return page


# --- addresses -------------------------------------------------------------------------------------------------


def test_every_address_has_a_case(panel):
    """Guards against addresses that `addresses` leaves out."""
    assert len(addresses(panel.ids)) > 60
    assert reverse("projects:delete", args=[panel.ids["project"]]) in addresses(panel.ids)


def test_method_without_a_token_changes_no_row(panel):
    client = panel.client(enforce_csrf_checks=True)
    client.get(reverse("projects:list"))
    for path in addresses(panel.ids):
        # Viewing this page requests a new inventory if the last one is old.
        before = None if "foundcluster" in path else rows()
        for method in METHODS:
            response = send(client, method, path, b"_selected_action=1&confirmed=yes&reason=x&post=yes")
            assert_harmless(response)
            if method == "POST" and response.status_code not in (302, 404):
                assert response.status_code in (403, 405), path
        assert before is None or rows() == before, path


@pytest.mark.parametrize("key", ["9" * 30, "9" * 5000, "-1", "0", "a\0b", "'", "٣", "1_5F", "..", "🦄" * 300, "1/../2"])
def test_any_primary_key_gets_a_page(panel, key):
    client = panel.client()
    for name, arguments in patterns():
        if arguments & {"pk", "object_id", "id", "content_type_id"}:
            path = reverse(name, kwargs=dict.fromkeys(arguments, 1)).replace("/1/", f"/{quote(key)}/")
            for method in ("GET", "POST"):
                response = send(client, method, path)
                assert_harmless(response)
                assert response.status_code in (200, 301, 302, 403, 404, 405), (path[:100], response.status_code)


LISTS = [
    "projects:list",
    "admin:projects_project_changelist",
    "admin:projects_databasecluster_changelist",
    "admin:projects_sandbox_changelist",
    "admin:projects_event_changelist",
    "admin:projects_sandboxtemplate_changelist",
    "admin:projects_foundcluster_changelist",
    "admin:django_q_ormq_changelist",
    "admin:django_q_schedule_changelist",
    "admin:auth_user_changelist",
    "admin:autocomplete",
    "admin:search",
    "admin:projects_project_add",
    "admin:login",
    "projects:add",
]


@examples(60)
@given(
    name=st.sampled_from(LISTS) | st.just("projects:status"),
    query=st.lists(st.tuples(st.sampled_from(PARAMETERS), texts() | st.integers().map(str)), min_size=1, max_size=4),
    is_fragment=st.booleans(),
)
def test_any_query_string_gets_a_page(panel, name, query, is_fragment):
    client = panel.client()
    path = reverse(name, args=[panel.ids["project"]] if name == "projects:status" else [])
    sent = urlencode(query, encoding="utf-8", errors="surrogatepass")
    try:
        response = client.get(f"{path}?{sent}", **({"HTTP_HX_REQUEST": "true"} if is_fragment else {}))
    except PermissionDenied:  # Django's autocomplete, for unknown fields
        assert name == "admin:autocomplete"
    else:
        assert_harmless(response)


@pytest.mark.parametrize(
    ("name", "lookup", "value"),
    [
        ("projects_event", "at__gte", "0001-01-01T00:00+14:00"),
        ("auditlog_logentry", "timestamp__gte", "9999-12-31T23:59:59-12:00"),
        ("auditlog_logentry", "timestamp__year", "0"),
        ("django_q_success", "started__year", "9" * 30),
        ("projects_project", "id__in", "9" * 30),
        ("projects_project", "name__regex", "["),
        ("auditlog_logentry", "changes__contains", "x"),
    ],
)
def test_any_lookup_gets_a_list(panel, name, lookup, value):
    response = panel.client().get(reverse(f"admin:{name}_changelist"), {lookup: value})
    assert_harmless(response)
    assert response.status_code in (200, 302, 400)


@pytest.mark.parametrize(
    ("name", "field"), [("group_add", "permissions"), ("user_change", "groups"), ("user_change", "user_permissions")]
)
def test_any_key_in_a_multiple_choice_gets_a_form(panel, name, field):
    path = reverse(f"admin:auth_{name}", args=[User.objects.earliest("pk").pk] if name == "user_change" else [])
    assert_harmless(
        send(panel.client(), "POST", path, urlencode({field: "9" * 20, "name": "a", "username": "a"}).encode())
    )


# --- forms -----------------------------------------------------------------------------------------------------


@pytest.fixture
def read(panel: Panel) -> Panel:
    """All forms of the panel's pages, each with the address of its page."""
    client = panel.client()
    for path in addresses(panel.ids):
        response = client.get(path)
        if response.status_code == 200 and "html" in response.headers.get("Content-Type", ""):
            panel.forms += [(path, form) for form in forms_of(response.content.decode()) if form.method == "post"]
    assert len(panel.forms) > 20
    return panel


@examples(80)
@given(data=st.data())
def test_any_input_is_stored_or_shown_again(read, data):
    path, form = read.forms[data.draw(st.integers(0, len(read.forms) - 1))]
    note(path)
    names = st.sampled_from(sorted(form.fields) or ["x"])
    typed = data.draw(st.dictionaries(names, texts(), max_size=4))
    with undone():
        response = send(read.client(), "POST", form.action or path, form.body(typed))
        page = assert_harmless(response)
        if response.status_code == 200 and page:
            assert_kept(page, form, typed)
        for row in (*Project.objects.all(), *ProjectVariable.objects.all(), *Event.objects.all()):
            assert "\0" not in f"{row}{getattr(row, 'message', '')}{getattr(row, 'description', '')}"


def assert_kept(page: str, form: Form, typed: dict[str, str]) -> None:
    """Assert that a form that is shown again has the text that was typed."""
    again = next((other for other in forms_of(page) if other.typed >= form.typed and form.typed), None)
    if again is None:
        return
    # Password forms have a field with the user's name, for password managers.
    for name in (form.typed & typed.keys()) - {"username"}:
        sent = typed[name].encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        shown = again.fields[name][0]
        assert shown.strip() in (sent.strip(), sent.replace("\r\n", "\n").replace("\r", "\n").strip()), name


def test_megabyte_of_input_gets_a_page(read):
    """Django limits a request's body to 2.5 MB, and a field to the limit of its model."""
    client = read.client()
    for path, form in read.forms:
        for name in sorted(form.typed):
            with undone():
                assert_harmless(send(client, "POST", form.action or path, form.body({name: MEGABYTE})))


@pytest.mark.parametrize("value", ["abc", "-1", "1e9", "999999999", "", "9" * 5000, "\0"])
@pytest.mark.parametrize(
    "name", ["variables-TOTAL_FORMS", "variables-INITIAL_FORMS", "variables-0-id", "variables-0-project"]
)
def test_invalid_management_form_gets_a_page(panel, name, value):
    path = reverse("admin:projects_project_change", args=[panel.ids["project"]])
    client = panel.client()
    form = next(form for form in forms_of(client.get(path).content.decode()) if "variables-TOTAL_FORMS" in form.fields)
    assert_harmless(send(client, "POST", path, form.body({f"variables-{name}": value})))
    assert ProjectVariable.objects.get().name == "TOKEN"


@pytest.mark.parametrize("keys", [["abc"], ["9" * 30], ["9" * 5000], ["\0"], ["1"] * 900, ["1"] * 1100, [""], ["1.5"]])
@pytest.mark.parametrize(
    "action", ["provision_selected", "delete_selected_projects", "delete_selected", "", "__class__"]
)
def test_any_selection_gets_an_answer_of_a_bulk_action(panel, action, keys):
    body = urlencode({"action": action, "_selected_action": keys, "index": "0", "confirmed": "yes"}, doseq=True)
    assert_harmless(send(panel.client(), "POST", reverse("admin:projects_project_changelist"), body.encode()))


@examples(20)
@given(
    username=texts(), password=texts(), following=texts() | st.sampled_from(["//evil.example", "javascript:alert(1)"])
)
def test_log_in_resists_hostile_input(panel, username, password, following):
    body = urlencode(
        {"username": username, "password": password, "next": following}, encoding="utf-8", errors="surrogatepass"
    )
    with undone():
        response = send(Client(), "POST", reverse("admin:login"), body.encode())
        assert_harmless(response)
        assert response.status_code != 302
    with undone():
        good = urlencode(
            {"username": "root", "password": "a-good-one-2026", "next": following},
            encoding="utf-8",
            errors="surrogatepass",
        )
        response = send(Client(), "POST", reverse("admin:login"), good.encode())
        assert response.status_code == 302
        assert not response.headers["Location"].startswith(("//", "javascript:", "http"))


HEADERS = (
    *("HTTP_HX_REQUEST", "HTTP_HX_CURRENT_URL", "HTTP_HX_CURRENT_URL_URI_AUTOENCODED", "HTTP_HX_TARGET"),
    *("HTTP_AUTHORIZATION", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_HOST", "HTTP_REFERER"),
    *("HTTP_COOKIE", "HTTP_ACCEPT_LANGUAGE", "HTTP_ACCEPT_ENCODING", "HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE"),
)


@examples(60)
@given(
    name=st.sampled_from(["projects:list", "admin:login", "admin:index", "healthz", "metrics", "projects:add"]),
    headers=st.dictionaries(st.sampled_from(HEADERS), texts(), min_size=1, max_size=4),
    is_known=st.booleans(),
)
def test_any_header_gets_a_page(panel, settings, name, headers, is_known):
    settings.TRUSTED_PROXIES, settings.METRICS_TOKEN = 1, "a-token"
    # As WSGI servers pass them: each byte as one character.
    sent = {key: value.encode("utf-8", "surrogatepass").decode("latin-1") for key, value in headers.items()}
    client = panel.client() if is_known else Client()
    response = client.get(reverse(name), **sent)
    assert_harmless(response)
    if name == "metrics" and not is_known:
        assert response.status_code in (400, 403)


@pytest.mark.parametrize(
    "url", ["http://[", "http://[::1", "http://testserver]/", "//[", "http://127.0.0.1:99999999/", "\x7f"]
)
def test_any_current_url_of_htmx_gets_a_fragment(panel, url):
    """Anonymous users are redirected to it after the log-in."""
    for client in (Client(), panel.client()):
        for path in (reverse("projects:list"), reverse("projects:status", args=[panel.ids["project"]])):
            assert_harmless(client.get(path, headers={"HX-Request": "true", "HX-Current-URL": url}))


BODIES = {
    "not-a-form": b"\xff\xfe\x00",
    "broken-percent": b"name=%zz&%=%&&=&reason=%ff%fe",
    "many-fields": b"&".join(b"a%d=1" % number for number in range(1500)),
    "three-megabytes": b"name=" + b"a" * 3_000_000,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_any_body_gets_a_page(panel, body):
    client = panel.client()
    for path in addresses(panel.ids):
        with undone():
            response = send(client, "POST", path, body)
            assert_harmless(response)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=x", "application/json", "x; charset=nonsense"],
)
def test_any_content_type_gets_a_page(panel, content_type):
    client = panel.client()
    for name in ("projects:add", "admin:projects_project_add", "admin:login"):
        assert_harmless(client.generic("POST", reverse(name), b"--x\r\nnonsense", content_type=content_type))
