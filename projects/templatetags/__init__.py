"""Template tags and filters that the admin and the pages share. Imports `pages` and the packages below it."""
