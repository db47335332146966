"""Authorization: refusals, reviews, tokens, impersonation and Roles."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Account, Place, eventually
from tests.contract.objects import configmap, role, role_binding
from tests.contract.targets import Target
from tests.support.rest import Access, Object, Rest, Verb, refusal

REVIEWS = "/apis/authorization.k8s.io/v1"
RBAC = "rbac.authorization.k8s.io/v1"


def _grant(api: Rest, place: Place, account: Account, *rules: Object) -> None:
    """Give `account` exactly `rules` in its namespace, and wait until they take effect."""
    api.create(place.path(RBAC, "roles"), role("granted", *rules))
    api.create(place.path(RBAC, "rolebindings"), role_binding("granted", place.name, account.name))
    wanted = {"namespace": place.name, "verb": rules[0]["verbs"][0], "resource": rules[0]["resources"][0]}
    wanted["group"] = rules[0]["apiGroups"][0]
    if "resourceNames" in rules[0]:
        wanted["name"] = rules[0]["resourceNames"][0]
    eventually(lambda: _review(account.rest, wanted), lambda status: status["allowed"] is True)


def _review(rest: Rest, attributes: Object) -> Object:
    body = {"spec": {"resourceAttributes": attributes}}
    status: Object = rest.create(f"{REVIEWS}/selfsubjectaccessreviews", body)["status"]
    return status


class TestRefusals:
    @pytest.mark.parametrize(
        ("verb", "path", "attempt"),
        [
            ("GET", "configmaps", "list"),
            ("GET", "configmaps?watch=1", "watch"),
            ("GET", "configmaps/a", "get"),
            ("POST", "configmaps", "create"),
            ("PUT", "configmaps/a", "update"),
            ("PATCH", "configmaps/a", "patch"),
            ("DELETE", "configmaps/a", "delete"),
            ("DELETE", "configmaps", "deletecollection"),
            ("GET", "nopes", "list"),
            ("POST", "serviceaccounts/a/token", "create"),
            ("GET", "pods/a/log", "get"),
        ],
    )
    def test_refusal_names_verb_resource_and_namespace(
        self, account: Account, place: Place, verb: Verb, path: str, attempt: str
    ) -> None:
        answer = account.rest.call(verb, place.core(path), {} if verb in ("POST", "PUT", "PATCH") else None)
        plural, _, rest = path.partition("?")[0].partition("/")
        name, _, subresource = rest.partition("/")
        what = f'{plural} "{name}"' if name else plural
        resource = f"{plural}/{subresource}" if subresource else plural
        sentence = (
            f'{what} is forbidden: User "{account.user}" cannot {attempt} resource "{resource}" '
            f'in API group "" in the namespace "{place.name}"'
        )
        assert refusal(answer) == (403, "Forbidden", sentence)
        assert answer.details == ({"name": name, "kind": plural} if name else {"kind": plural})

    def test_refusal_names_subresource_and_group(self, account: Account, place: Place) -> None:
        answer = account.rest.merge(place.apps("statefulsets", "web", "status"), {})
        sentence = (
            f'statefulsets.apps "web" is forbidden: User "{account.user}" cannot patch resource '
            f'"statefulsets/status" in API group "apps" in the namespace "{place.name}"'
        )
        assert refusal(answer) == (403, "Forbidden", sentence)
        assert answer.details == {"name": "web", "group": "apps", "kind": "statefulsets"}

    @pytest.mark.parametrize(
        ("path", "what"),
        [
            ("/api/v1/nodes", 'nodes is forbidden: {user} cannot list resource "nodes"'),
            ("/api/v1/nodes/x", 'nodes "x" is forbidden: {user} cannot get resource "nodes"'),
            ("/api/v1/secrets", 'secrets is forbidden: {user} cannot list resource "secrets"'),
        ],
    )
    def test_refusal_names_the_cluster_scope(self, account: Account, path: str, what: str) -> None:
        sentence = what.format(user=f'User "{account.user}"') + ' in API group "" at the cluster scope'
        assert refusal(account.rest.get(path)) == (403, "Forbidden", sentence)

    @pytest.mark.parametrize("path", ["/metrics", "/nope"])
    def test_refusal_names_the_page(self, account: Account, path: str) -> None:
        sentence = f'forbidden: User "{account.user}" cannot get path "{path}"'
        assert refusal(account.rest.get(path)) == (403, "Forbidden", sentence)

    def test_reading_a_namespace_needs_permission(self, account: Account, place: Place) -> None:
        answer = account.rest.get(f"/api/v1/namespaces/{place.name}")
        sentence = (
            f'namespaces "{place.name}" is forbidden: User "{account.user}" cannot get resource "namespaces" '
            f'in API group "" in the namespace "{place.name}"'
        )
        assert refusal(answer) == (403, "Forbidden", sentence)

    def test_refusal_comes_before_a_404(self, account: Account, place: Place) -> None:
        assert account.rest.get(place.core("configmaps", "nope")).status == 403

    @pytest.mark.parametrize("path", ["/api", "/apis", "/api/v1", "/apis/apps/v1", "/version", "/readyz"])
    def test_authenticated_users_can_discover(self, account: Account, path: str) -> None:
        assert account.rest.get(path).status == 200


class TestGrants:
    def test_role_grants_only_its_verbs(self, api: Rest, place: Place, account: Account) -> None:
        _grant(api, place, account, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]})
        api.create(place.core("configmaps"), configmap("a"))
        assert account.rest.get(place.core("configmaps")).status == 200
        assert account.rest.get(place.core("configmaps", "a")).status == 200
        assert account.rest.get(place.core("configmaps"), watch=True, timeoutSeconds=1).status == 403
        assert account.rest.delete(place.core("configmaps", "a")).status == 403
        assert account.rest.get(place.core("secrets")).status == 403

    def test_role_grants_only_in_the_namespace_of_its_binding(self, api: Rest, place: Place, account: Account) -> None:
        _grant(api, place, account, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]})
        assert account.rest.get("/api/v1/namespaces/default/configmaps").status == 403
        assert account.rest.get("/api/v1/configmaps").status == 403

    def test_role_can_grant_only_named_objects(self, api: Rest, place: Place, account: Account) -> None:
        rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["get"]}
        _grant(api, place, account, rule)
        assert account.rest.get(place.core("configmaps", "mine")).status == 404
        assert account.rest.get(place.core("configmaps", "other")).status == 403

    def test_subresource_needs_its_own_rule(self, api: Rest, place: Place, account: Account) -> None:
        _grant(api, place, account, {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["*"]})
        assert account.rest.get(place.apps("statefulsets", "web")).status == 404
        assert account.rest.get(place.apps("statefulsets", "web", "status")).status == 403
        assert account.rest.get(place.apps("statefulsets", "web", "scale")).status == 403

    @pytest.mark.parametrize(
        ("resources", "allowed"), [(["*"], True), (["*/status"], True), (["statefulsets/*"], False)]
    )
    def test_wildcards_grant_what_they_match(
        self, api: Rest, place: Place, account: Account, resources: list[str], allowed: bool
    ) -> None:
        known = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
        _grant(api, place, account, known, {"apiGroups": ["*"], "resources": resources, "verbs": ["*"]})
        status = account.rest.get(place.apps("statefulsets", "web", "status")).status
        assert status == (404 if allowed else 403)

    def test_deletion_of_a_collection_needs_its_own_verb(self, api: Rest, place: Place, account: Account) -> None:
        _grant(api, place, account, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["delete"]})
        assert account.rest.delete(place.core("configmaps", "nope")).status == 404
        assert account.rest.delete(place.core("configmaps")).status == 403

    def test_apply_of_a_missing_object_needs_create_and_patch(self, api: Rest, place: Place, account: Account) -> None:
        _grant(api, place, account, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]})
        path = place.core("configmaps", "a")
        answer = account.rest.apply(path, configmap("a"), fieldManager="panel")
        assert (answer.status, answer.reason) == (403, "Forbidden")
        assert 'cannot create resource "configmaps"' in answer.message

    def test_grant_ends_with_its_binding(self, api: Rest, place: Place, account: Account) -> None:
        _grant(api, place, account, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]})
        api.delete(place.path(RBAC, "rolebindings", "granted"))
        eventually(lambda: account.rest.get(place.core("configmaps")), lambda answer: answer.status == 403)

    def test_cluster_role_can_be_granted_in_one_namespace(self, api: Rest, place: Place, account: Account) -> None:
        """Every cluster has the ClusterRole `view`."""
        name = f"contract-{place.name}"
        rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
        api.create(f"/apis/{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": [rule]})
        try:
            binding = role_binding("granted", place.name, account.name)
            binding["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
            api.create(place.path(RBAC, "rolebindings"), binding)
            eventually(lambda: account.rest.get(place.core("configmaps")), lambda answer: answer.status == 200)
            assert account.rest.get("/api/v1/configmaps").status == 403
        finally:
            api.delete(f"/apis/{RBAC}/clusterroles/{name}")

    def test_cluster_role_can_be_granted_everywhere(self, api: Rest, place: Place, account: Account) -> None:
        name = f"contract-{place.name}"
        rule = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account.name, "namespace": place.name}],
        }
        api.create(f"/apis/{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": [rule]})
        try:
            api.create(f"/apis/{RBAC}/clusterrolebindings", binding)
            eventually(lambda: account.rest.get("/api/v1/nodes"), lambda answer: answer.status == 200)
        finally:
            api.delete(f"/apis/{RBAC}/clusterrolebindings/{name}")
            api.delete(f"/apis/{RBAC}/clusterroles/{name}")

    @pytest.mark.parametrize(
        "subject",
        [
            {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:serviceaccounts:{namespace}"},
            {
                "kind": "User",
                "apiGroup": "rbac.authorization.k8s.io",
                "name": "system:serviceaccount:{namespace}:robot",
            },
        ],
    )
    def test_groups_and_users_can_be_granted_roles(
        self, api: Rest, place: Place, account: Account, subject: dict[str, str]
    ) -> None:
        rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
        api.create(place.path(RBAC, "roles"), role("granted", rule))
        binding = role_binding("granted", place.name, account.name)
        binding["subjects"] = [{**subject, "name": subject["name"].format(namespace=place.name)}]
        api.create(place.path(RBAC, "rolebindings"), binding)
        eventually(lambda: account.rest.get(place.core("configmaps")), lambda answer: answer.status == 200)

    def test_users_can_not_grant_more_than_they_have(self, api: Rest, place: Place, account: Account) -> None:
        rule = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]}
        _grant(api, place, account, rule)
        secrets = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
        answer = account.rest.post(place.path(RBAC, "roles"), role("more", secrets))
        assert (answer.status, answer.reason) == (403, "Forbidden")
        assert "is attempting to grant RBAC permissions not currently held" in answer.message


class TestReviews:
    def test_review_of_a_forbidden_request_is_negative(self, account: Account, place: Place) -> None:
        status = _review(account.rest, {"namespace": place.name, "verb": "list", "resource": "configmaps"})
        assert status == {"allowed": False}

    def test_review_of_an_allowed_request_names_the_binding(self, api: Rest, place: Place, account: Account) -> None:
        _grant(api, place, account, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]})
        status = _review(account.rest, {"namespace": place.name, "verb": "list", "resource": "configmaps"})
        reason = (
            f'RBAC: allowed by RoleBinding "granted/{place.name}" of Role "granted" '
            f'to ServiceAccount "robot/{place.name}"'
        )
        assert status == {"allowed": True, "reason": reason}

    def test_administrator_is_allowed_everything(self, api: Rest, place: Place) -> None:
        status = _review(api, {"namespace": place.name, "verb": "delete", "resource": "secrets"})
        assert status["allowed"] is True

    def test_page_can_be_reviewed(self, account: Account) -> None:
        body = {"spec": {"nonResourceAttributes": {"path": "/version", "verb": "get"}}}
        assert account.rest.create(f"{REVIEWS}/selfsubjectaccessreviews", body)["status"]["allowed"] is True
        body = {"spec": {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}}
        assert account.rest.create(f"{REVIEWS}/selfsubjectaccessreviews", body)["status"]["allowed"] is False

    def test_review_of_nothing_is_422(self, account: Account) -> None:
        answer = account.rest.post(f"{REVIEWS}/selfsubjectaccessreviews", {"spec": {}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [cause.field for cause in answer.causes] == ["spec.resourceAttributes"]

    def test_users_can_review_their_own_rules(self, api: Rest, place: Place, account: Account) -> None:
        _grant(
            api,
            place,
            account,
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["only"], "verbs": ["get"]},
        )
        body = {"spec": {"namespace": place.name}}
        status = account.rest.create(f"{REVIEWS}/selfsubjectrulesreviews", body)["status"]
        assert status["incomplete"] is False
        assert {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]} in status["resourceRules"]
        named = {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["only"]}
        assert named in status["resourceRules"]
        assert any("/version" in rule["nonResourceURLs"] for rule in status["nonResourceRules"])

    def test_request_of_another_user_can_be_reviewed(self, api: Rest, place: Place) -> None:
        body = {
            "spec": {
                "user": "nobody-in-particular",
                "resourceAttributes": {"namespace": place.name, "verb": "list", "resource": "configmaps"},
            }
        }
        assert api.create(f"{REVIEWS}/subjectaccessreviews", body)["status"] == {"allowed": False}

    def test_self_subject_review_names_the_user(self, account: Account, place: Place) -> None:
        info = account.rest.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})["status"]["userInfo"]
        assert info["username"] == account.user
        assert info["groups"] == [
            "system:serviceaccounts",
            f"system:serviceaccounts:{place.name}",
            "system:authenticated",
        ]


class TestTokens:
    def test_token_request_returns_a_working_token(self, api: Rest, place: Place) -> None:
        api.create(place.core("serviceaccounts"), {"metadata": {"name": "robot"}})
        path = place.core("serviceaccounts", "robot", "token")
        body = api.create(path, {"spec": {"expirationSeconds": 3600}})
        assert (body["kind"], body["apiVersion"]) == ("TokenRequest", "authentication.k8s.io/v1")
        assert body["status"]["token"].count(".") == 2
        assert body["status"]["expirationTimestamp"].endswith("Z")
        assert body["spec"]["expirationSeconds"] == 3600

    def test_token_of_a_missing_account_is_404(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("serviceaccounts", "nope", "token"), {})
        assert refusal(answer) == (404, "NotFound", 'serviceaccounts "nope" not found')

    def test_token_of_less_than_ten_minutes_is_refused(self, api: Rest, place: Place) -> None:
        api.create(place.core("serviceaccounts"), {"metadata": {"name": "robot"}})
        answer = api.post(place.core("serviceaccounts", "robot", "token"), {"spec": {"expirationSeconds": 10}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [cause.field for cause in answer.causes] == ["spec.expirationSeconds"]

    def test_changed_token_is_401(self, target: Target, account: Account, place: Place) -> None:
        token = account.rest.access.token
        assert token is not None
        header, payload, signature = token.split(".")
        forged = ".".join([header, payload, signature[::-1]])
        access = Access(target.access.url, token=forged, ca_file=target.access.ca_file, verify=target.access.verify)
        stranger = Rest(access)
        assert refusal(stranger.get(place.core("configmaps"))) == (401, "Unauthorized", "Unauthorized")
        stranger.close()

    def test_token_ends_with_its_account(self, api: Rest, account: Account, place: Place) -> None:
        assert account.rest.get("/api").status == 200
        api.delete(place.core("serviceaccounts", account.name))
        eventually(lambda: account.rest.get("/api"), lambda answer: answer.status == 401)


class TestImpersonation:
    def test_administrator_can_impersonate(self, api: Rest, place: Place, account: Account) -> None:
        answer = api.call("GET", place.core("configmaps"), headers={"Impersonate-User": account.user})
        assert answer.status == 403
        assert f'User "{account.user}" cannot list resource' in answer.message

    def test_other_users_can_not_impersonate(self, place: Place, account: Account) -> None:
        answer = account.rest.call("GET", place.core("configmaps"), headers={"Impersonate-User": "admin"})
        assert (answer.status, answer.reason) == (403, "Forbidden")
        assert f'User "{account.user}" cannot impersonate' in answer.message


class TestRoleObjects:
    def test_role_of_a_binding_is_immutable(self, api: Rest, place: Place) -> None:
        api.create(place.path(RBAC, "rolebindings"), role_binding("b", place.name, "robot"))
        answer = api.merge(place.path(RBAC, "rolebindings", "b"), {"roleRef": {"name": "other"}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field) for cause in answer.causes] == [("FieldValueInvalid", "roleRef")]
        assert answer.message.endswith(": cannot change roleRef")

    def test_binding_needs_a_role(self, api: Rest, place: Place) -> None:
        answer = api.post(place.path(RBAC, "rolebindings"), {"metadata": {"name": "b"}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert {cause.field for cause in answer.causes} == {"roleRef.kind", "roleRef.name"}

    @pytest.mark.parametrize(
        ("rule", "field"),
        [
            ({"apiGroups": [""], "resources": ["x"]}, "rules[0].verbs"),
            ({"resources": ["x"], "verbs": ["get"]}, "rules[0].apiGroups"),
            ({"apiGroups": [""], "verbs": ["get"]}, "rules[0].resources"),
            ({"nonResourceURLs": ["/x"], "verbs": ["get"]}, "rules[0].nonResourceURLs"),
        ],
    )
    def test_rules_are_validated(self, api: Rest, place: Place, rule: Object, field: str) -> None:
        answer = api.post(place.path(RBAC, "roles"), role("r", rule))
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [cause.field for cause in answer.causes] == [field]


class TestTooManyRequests:
    def test_throttled_request_is_429_with_a_time_to_wait(self, target: Target, account: Account) -> None:
        with target.throttle(account.user):
            answer = eventually(lambda: account.rest.get("/version"), lambda answer: answer.status == 429)
            assert answer.headers["Retry-After"].isdigit()
            assert answer.text == "Too many requests, please try again later.\n"
            assert answer.headers["Content-Type"].startswith("text/plain")
        eventually(lambda: account.rest.get("/version"), lambda answer: answer.status == 200)
