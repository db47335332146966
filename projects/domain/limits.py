"""Limits of user input that forms, models and requests share."""

# Inline forms on one page, such as the variables of a project. Each takes 1 to 10 ms to render.
MOST_FORMS = 200
# An environment variable that a process can be started with; Linux takes 128 KiB.
MAX_VARIABLE_BYTES = 32 * 1024
# All variables of a project: their Secret can hold 1 MiB.
MAX_VARIABLES_BYTES = 1024 * 1024
