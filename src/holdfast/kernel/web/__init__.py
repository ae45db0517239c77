"""The frame of every route: who is asking, one transaction a request, errors in one form."""
