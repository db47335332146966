"""Addresses of the own pages, below /projects/."""

from django.urls import path

from projects.pages import credentials, detail, list, requests, warnings

app_name = "projects"
urlpatterns = [
    path("", list.project_list, name="list"),
    path("warnings/", warnings.warnings, name="warnings"),
    path("add/", requests.add, name="add"),
    path("<int:pk>/", detail.project_detail, name="detail"),
    path("<int:pk>/status/", detail.project_status, name="status"),
    path("<int:pk>/credentials/", credentials.project_credentials, name="credentials"),
    path("<int:pk>/provision/", requests.provision, name="provision"),
    path("<int:pk>/retry/", requests.retry, name="retry"),
    path("<int:pk>/cancel/", requests.cancel, name="cancel"),
    path("<int:pk>/forget/", requests.forget, name="forget"),
    path("<int:pk>/rotate-password/", requests.rotate_password, name="rotate_password"),
    path("<int:pk>/verify/", requests.verify, name="verify"),
    path("<int:pk>/restore-secret/", requests.restore_secret, name="restore_secret"),
    path("<int:pk>/use-secret/", requests.use_secret, name="use_secret"),
    path("<int:pk>/delete/", requests.delete, name="delete"),
]
