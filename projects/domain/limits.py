"""Limits that forms and request handling share."""

# Inline forms on one page, such as the variables of a project. Each takes 1 to 10 ms to render.
MOST_FORMS = 200
