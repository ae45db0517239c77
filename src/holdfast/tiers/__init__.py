"""Hot and cold: a local tree keeps only what is read, a store has all of it.

Owns the tables of tiers, of what was pulled, proven and frozen, and a tier's quarantine folder.
Promises that a local file leaves only when each store of its tier provably holds the same bytes,
that what left can be brought back until the undo window ends and be pulled ever after, and that a
store is never written and never deleted from.
"""
