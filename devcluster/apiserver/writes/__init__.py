"""Write operations, independent of HTTP: admission, patches, server-side apply, quotas, deletion, garbage collection.

May import `storage`, `validation`, `schema` and `errors`.
"""
