"""Causes of refused requests, by the Status of real API servers."""

import json
from typing import Any

import pytest
from hypothesis import given

from projects.domain.states import Reason
from provisioning.kube.errors import RefusedError, build_refusal
from provisioning.objects.refusals import Cause, judge_message, judge_status
from provisioning.reconcile.failures import explain_failure
from tests.hostile.answers import refusal
from tests.hostile.strategies import examples, json_values, texts

POD = 'pods "web-0" is forbidden: '
HOOK = 'Internal error occurred: failed calling webhook "policy.example.com": failed to call webhook: '
# (code, reason, message), the cause, the reason of the project, and what the message says to do.
CASES = {
    "rbac": (
        (403, "Forbidden", 'clusters.apps.kubeblocks.io is forbidden: User "panel" cannot list resource "clusters"'),
        Cause.NO_PERMISSION,
        Reason.CLUSTER_REFUSED,
        "extend its Role",
    ),
    "anonymous": (
        (403, "Forbidden", 'forbidden: User "system:anonymous" cannot get path "/apis"'),
        Cause.NO_PERMISSION,
        Reason.CLUSTER_REFUSED,
        "extend its Role",
    ),
    "impersonation": (
        (403, "Forbidden", 'users "ops" is forbidden: User "panel" cannot impersonate resource "users"'),
        Cause.NO_PERMISSION,
        Reason.CLUSTER_REFUSED,
        "extend its Role",
    ),
    "quota": (
        (403, "Forbidden", POD + "exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3"),
        Cause.QUOTA,
        Reason.QUOTA_EXCEEDED,
        "Raise the quota",
    ),
    "quota that wants limits": (
        (403, "Forbidden", POD + "failed quota: small: must specify limits.cpu for: sandbox"),
        Cause.QUOTA,
        Reason.QUOTA_EXCEEDED,
        "ResourceQuota",
    ),
    "quota not counted yet": (
        (403, "Forbidden", POD + "status unknown for quota: small, resources: pods"),
        Cause.QUOTA,
        Reason.QUOTA_EXCEEDED,
        "ResourceQuota",
    ),
    "limit range": (
        (403, "Forbidden", POD + "[maximum cpu usage per Container is 1, but limit is 2, minimum memory usage per Pod"),
        Cause.LIMIT_RANGE,
        Reason.ADMISSION_DENIED,
        "LimitRange",
    ),
    "limit range, ratio": (
        (403, "Forbidden", POD + "cpu max limit to request ratio per Container is 2, but provided ratio is 10.0"),
        Cause.LIMIT_RANGE,
        Reason.ADMISSION_DENIED,
        "LimitRange",
    ),
    "limit range of volumes": (
        (
            403,
            "Forbidden",
            'persistentvolumeclaims "data" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi',
        ),
        Cause.LIMIT_RANGE,
        Reason.ADMISSION_DENIED,
        "LimitRange",
    ),
    "pod security": (
        (403, "Forbidden", POD + 'violates PodSecurity "restricted:latest": runAsNonRoot != true (pod must not run'),
        Cause.POD_SECURITY,
        Reason.ADMISSION_DENIED,
        "pod-security.kubernetes.io/enforce",
    ),
    "webhook denies": (
        (403, "Forbidden", 'admission webhook "policy.example.com" denied the request: no label team'),
        Cause.POLICY,
        Reason.ADMISSION_DENIED,
        "webhook policy.example.com does not allow it",
    ),
    "webhook denies with 404": (
        (404, "NotFound", 'admission webhook "policy.example.com" denied the request: no such team'),
        Cause.POLICY,
        Reason.ADMISSION_DENIED,
        "policy.example.com",
    ),
    "webhook denies with 409": (
        (409, "Conflict", 'admission webhook "policy.example.com" denied the request: twice'),
        Cause.POLICY,
        Reason.ADMISSION_DENIED,
        "policy.example.com",
    ),
    "webhook denies and speaks of quotas": (
        (400, "BadRequest", 'admission webhook "q.example.com" denied the request: x is forbidden: exceeded quota: a'),
        Cause.POLICY,
        Reason.ADMISSION_DENIED,
        "q.example.com",
    ),
    "admission policy": (
        (
            422,
            "Invalid",
            "clusters \"web\" is forbidden: ValidatingAdmissionPolicy 'team' with binding 'b' denied request: no label",
        ),
        Cause.POLICY,
        Reason.ADMISSION_DENIED,
        "ValidatingAdmissionPolicy team",
    ),
    "another plugin": (
        (403, "Forbidden", POD + "no PriorityClass with name high was found"),
        Cause.ADMISSION,
        Reason.ADMISSION_DENIED,
        "permissions are not the cause",
    ),
    "terminating namespace": (
        (
            403,
            "Forbidden",
            'secrets "web" is forbidden: unable to create new content in namespace a because it is being terminated',
        ),
        Cause.NAMESPACE_TERMINATING,
        Reason.NAMESPACE_TERMINATING,
        "being deleted",
    ),
    "webhook away": (
        (500, "InternalError", HOOK + 'Post "https://hook.policy.svc:443/": dial tcp: connection refused'),
        Cause.WEBHOOK_FAILED,
        Reason.WEBHOOK_FAILED,
        "webhook policy.example.com does not answer",
    ),
    "webhook late": (
        (500, "InternalError", HOOK + "context deadline exceeded"),
        Cause.WEBHOOK_FAILED,
        Reason.WEBHOOK_FAILED,
        "policy.example.com",
    ),
    "conversion webhook": (
        (500, "InternalError", "conversion webhook for apps.kubeblocks.io/v1alpha1, Kind=Cluster failed: Post: EOF"),
        Cause.WEBHOOK_FAILED,
        Reason.WEBHOOK_FAILED,
        "operator is running",
    ),
    "no dry run": (
        (400, "BadRequest", 'admission webhook "policy.example.com" does not support dry run'),
        Cause.NO_DRY_RUN,
        Reason.ADMISSION_DENIED,
        "sideEffects",
    ),
    "etcd": (
        (500, "InternalError", "etcdserver: request timed out"),
        Cause.SERVER_ERROR,
        Reason.API_SERVER_FAILED,
        "etcd",
    ),
    "server time-out": (
        (504, "Timeout", "Timeout: request did not complete within requested timeout"),
        Cause.SERVER_ERROR,
        Reason.API_SERVER_FAILED,
        "can't carry out the request",
    ),
    "unavailable": (
        (503, "ServiceUnavailable", "the server is currently unable to handle the request"),
        Cause.SERVER_ERROR,
        Reason.API_SERVER_FAILED,
        "can't carry out the request",
    ),
    "throttled": (
        (429, "TooManyRequests", "the server has received too many requests"),
        Cause.BUSY,
        Reason.API_SERVER_FAILED,
        "overloaded",
    ),
    "conflict": (
        (409, "Conflict", 'Operation cannot be fulfilled on resourcequotas "q": the object has been modified'),
        Cause.CONFLICT,
        Reason.CONFLICT,
        "at the same time",
    ),
    "already there": (
        (409, "AlreadyExists", 'clusters.apps.kubeblocks.io "web" already exists'),
        Cause.CONFLICT,
        Reason.CONFLICT,
        "at the same time",
    ),
    "invalid, quoting a quota": (
        (422, "Invalid", 'Cluster "web" is invalid: spec: Invalid value: "x is forbidden: exceeded quota: a": no'),
        Cause.INVALID,
        Reason.CLUSTER_REJECTED,
        "is invalid",
    ),
    "expired token": ((401, "Unauthorized", "Unauthorized"), Cause.UNAUTHENTICATED, Reason.CLUSTER_REFUSED, "Renew it"),
    "missing namespace": (
        (404, "NotFound", 'namespaces "later" not found'),
        Cause.NAMESPACE_MISSING,
        Reason.NAMESPACE_MISSING,
        "kubectl create namespace",
    ),
    "missing object": (
        (404, "NotFound", 'clusters.apps.kubeblocks.io "web" not found'),
        Cause.NOT_FOUND,
        Reason.CONFLICT,
        "not found",
    ),
    "kind not served": (
        (404, "NotFound", "the server could not find the requested resource"),
        Cause.UNSERVED,
        Reason.KUBEBLOCKS_MISSING,
        "Install it",
    ),
}
DETAILS: dict[str, dict[str, Any]] = {
    "missing namespace": {"name": "later", "kind": "namespaces"},
    "missing object": {"name": "web", "kind": "clusters"},
}
PATH = "/apis/apps.kubeblocks.io/v1/namespaces/default/clusters"


def refused(name: str) -> RefusedError:
    body = refusal(*CASES[name][0], **DETAILS.get(name, {}))
    return build_refusal(body["code"], json.dumps(body).encode(), {}, PATH)


@pytest.mark.parametrize("name", CASES)
def test_each_refusal_has_its_cause_and_remedy(name):
    _, cause, reason, remedy = CASES[name]
    error = refused(name)
    failure = explain_failure(error)
    assert (error.cause, failure.reason) == (cause, reason)
    assert remedy in failure.message
    if cause is not Cause.NO_PERMISSION:
        assert "lacks this permission" not in failure.message


def test_other_kind_that_is_not_served_is_not_kubeblocks():
    body = json.dumps(refusal(404, "NotFound", "the server could not find the requested resource")).encode()
    error = build_refusal(404, body, {}, "/apis/networking.k8s.io/v1/namespaces/default/ingresses")
    assert explain_failure(error).reason is Reason.CLUSTER_REFUSED


def test_terminating_namespace_is_known_by_its_cause():
    status = refusal(403, "Forbidden", "no", causes=[{"reason": "NamespaceTerminating", "field": "metadata.namespace"}])
    assert judge_status(403, status) is Cause.NAMESPACE_TERMINATING


def test_refused_secret_keeps_its_cause_without_the_quote():
    error = refused("quota").without_quote("The API server refused the Secret web.")
    assert error.cause is Cause.QUOTA
    assert "Raise the quota" in str(error)
    assert "pods=3" not in str(error)


@pytest.mark.parametrize(
    "body",
    ['Internal Server Error: "/api/v1/x": no', "service unavailable", "error trying to reach service: dial"],
)
def test_plain_text_of_an_api_server_is_its_answer(body):
    assert build_refusal(500, body.encode(), {}).cause is Cause.SERVER_ERROR


def test_message_may_be_missing():
    body = refusal(422, "Invalid", "", causes=[{"field": "spec.replicas", "message": "Required value"}])
    assert "spec.replicas: Required value" in str(build_refusal(422, json.dumps(body).encode(), {}))


@examples(150)
@given(json_values() | json_values().map(lambda value: {**refusal(403, "Forbidden", ""), "details": value}))
def test_any_status_has_a_cause(value):
    error = build_refusal(403, json.dumps(value).encode(), {})
    assert isinstance(error.cause, Cause)
    assert str(error).isprintable()


@examples(80)
@given(texts())
def test_text_of_other_sources_has_no_known_cause(text):
    assert judge_message(text) in (Cause.UNKNOWN, Cause.ADMISSION)
