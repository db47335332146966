"""The Django project: settings, URLs, middleware, log-in, health and metrics. It puts the apps together.

The top layer: imports `provisioning` and `projects`. Nothing imports it but the test settings and process entry points.
"""
