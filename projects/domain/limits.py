"""Bounds that forms and the requests which carry them share."""

# Forms of a kind on one page, such as the variables of a project. Each costs a millisecond or ten to show.
MOST_FORMS = 200
