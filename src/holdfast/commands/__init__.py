"""The command line's frame: contexts, output, exit codes, and commands described as data.

Results go to stdout for programs, everything else to stderr for people. Nothing of the server is
imported until a command needs it.
"""
