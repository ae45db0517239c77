"""Durable jobs: what outlasts a request, survives a restart, and is never done by two at once.

A job is a function marked `registry.job`, made of steps marked `registry.step`. `service.submit`
puts a row in the caller's transaction; some worker's engine admits it (cap, priority, locks on
paths) and runs it; when that worker dies, another goes on with the unfinished step. Nothing
outside this package knows the library underneath (DBOS).
"""
