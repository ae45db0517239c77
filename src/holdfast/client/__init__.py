"""Python client of the API; the command line is built on it.

Promises that a failure arrives as the same error that the server raised, with its code and hint.
"""
