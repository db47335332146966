"""Django's admin, one module per model. Imports all other packages of this app."""

from django.contrib import admin

from projects.admin import audit, found_clusters, orphans, people, projects, queue, records, templates

__all__ = ["audit", "found_clusters", "orphans", "people", "projects", "queue", "records", "templates"]

admin.site.index_title = "Overview"
admin.site.empty_value_display = "–"
