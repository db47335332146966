"""Addresses of the own pages, below /projects/."""

from django.urls import path

from projects import views

app_name = "projects"
urlpatterns = [
    path("", views.project_list, name="list"),
    path("add/", views.add, name="add"),
    path("<int:pk>/", views.project_detail, name="detail"),
    path("<int:pk>/status/", views.project_status, name="status"),
    path("<int:pk>/credentials/", views.project_credentials, name="credentials"),
    path("<int:pk>/provision/", views.provision, name="provision"),
    path("<int:pk>/retry/", views.retry, name="retry"),
    path("<int:pk>/cancel/", views.cancel, name="cancel"),
    path("<int:pk>/forget/", views.forget, name="forget"),
    path("<int:pk>/rotate-password/", views.rotate_password, name="rotate_password"),
    path("<int:pk>/delete/", views.delete, name="delete"),
]
