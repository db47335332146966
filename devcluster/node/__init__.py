"""The node of the cluster: kubelet, local processes for Pods, and the PostgreSQL servers behind databases.

May import `client`.
"""
