"""Create, update, patch, apply and delete, free of HTTP: admission, server-side apply, finalizers, garbage collection.

May import `storage`, `validation`, `schema` and `errors`.
"""
