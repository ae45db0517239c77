"""The pages of the console: one line each. Tests look at every one, pictures are taken of them.

``{words}`` in a path are the names that `docs.console_site.furnish` gives.
"""

PAGES = {
    "api": "/api/docs",
    "overview": "/",
    "search": "/web/search?q=photos",
}
"""Name of the picture, and path. To add a page, add a line."""

NOT_IN_PICTURES = frozenset({"api", "search"})
"""Tested only."""
