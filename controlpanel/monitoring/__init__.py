"""Health and metrics over HTTP, for probes, load balancers and Prometheus.

Imports `provisioning` for the heartbeats of its processes, and `projects` for rows.
"""
