"""Wire adapters: clients of older tools go on working, against the services of the slices.

Owns what only those clients know (which tasks they took off their list) and the import of their
tools' files. Each adapter is off until the setting ``dropin`` names it, and asks by itself who
calls: nothing of it is open but to the networks that the operator lists.
"""
