"""The frame of the console: layout, macros, forms, lists, search, live parts. It knows no slice.

A slice's pages live in its ``pages/`` room: ``routers``, ``contribute(services)``, ``templates/``.

- A handler reads by the same queries and services as the API and ends with
  ``page(request, "gateway/pools.html.j2", ...)``. Templates extend ``console/frame.html.j2`` and
  draw with ``ui``, the macros of ``console/macros.html.j2``; no style, script or event attributes.
- Every address answers a whole page, of which htmx takes ``#main``: there are no fragments.
- A form posts to its own address: `forms.Form` checks it by the API's schema and runs the service
  in one transaction; then `render.see_other` (303), or the page again with the words at the fields.
- A list keeps search, sort and page in the address: `listing.listing`.
- A part that changes by itself has an id and ``data-live="topic ..."``: an event of the topic
  fetches the page again and replaces it, once nobody works in it. Progress events only fill
  ``data-bind`` fields.
- `registry.ConsoleParts` takes navigation, search, figures, topics, and what needs the operator
  first.
"""
