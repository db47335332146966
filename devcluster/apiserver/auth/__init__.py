"""Authentication and authorization: tokens, RBAC rules, and the verb and resource that a URL stands for.

May import `storage`, `schema` and `errors`.
"""
