"""Which store answers for which bucket: pools, vhosts, routes and buckets, published to nginx.

Owns the tables of pools, members, credentials, vhosts, routes and seen buckets, the generations
of nginx files and the routing flags. Promises that a change which nginx refuses changes nothing,
that a change is live when the call returns, and that the disk is enough to rebuild the tables.
"""
