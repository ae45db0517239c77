"""Move a live bucket from one pool to another.

No failed request, nothing lost, stale or resurrected.

Owns the tables of migrations and their logs, the copier, the dirty log's reader and the state
machine. Promises that one pool is authoritative at every instant, that reads are never paused, that
writes wait at most the configured time an attempt, and that source data is never deleted.
"""
