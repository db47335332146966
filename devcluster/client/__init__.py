"""Asynchronous clients of any Kubernetes API server: requests, a cache that follows one kind, a queue of keys.

May import `devcluster.apiserver.http`, for the client that calls a server in the same process.
"""
