"""The Django project: settings, URLs, middleware, log-in, health and metrics. It puts the apps together.

The top layer: imports `provisioning` and `projects`. Only test settings and process entry points import it.
"""
