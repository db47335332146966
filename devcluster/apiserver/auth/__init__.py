"""Who sends a request and what they may do: tokens, RBAC rules, and what a URL asks for in the terms of RBAC.

May import `storage`, `schema` and `errors`.
"""
