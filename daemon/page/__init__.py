"""The page for the person who is on call: HTML made on the server, one file per page beside its template.

It reads through ``views`` and acts through ``control``, like the API. Everything works without JavaScript; with it,
open pages update themselves. Starlette and Jinja are imported only when the page is on.
"""
