"""Value rules: the causes of a 422 for a decoded object. Pure, a module a group of kinds; custom resources and CEL too.

May import `schema` and `errors`.
"""
