"""Template tags and filters for rows as pages and the admin show them. Imports `pages` and what is below it."""
