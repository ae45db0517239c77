"""What every slice stands on, and which knows no slice.

Settings, database, jobs, stores, nginx, identity, audit, events.
"""
