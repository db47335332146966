"""The embedded Kubernetes API server.

Its layers, top imports bottom: `http`, then `auth` and `writes`, then `storage` and `validation`, then `schema`, then
`errors`. Imports nothing else of `devcluster`. README.md says which tests compare it with the real server.
"""
