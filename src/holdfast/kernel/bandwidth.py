"""How many bytes a second something may take, as people write it: ``50M``."""


def bytes_per_second(limit: str) -> float | None:
    """A bandwidth setting (``50M``) as a number; None: no limit. The text was checked before."""
    if not limit:
        return None
    unit = {"K": 1024, "M": 1024**2, "G": 1024**3}.get(limit[-1].upper(), 1)
    number = float(limit.rstrip("KMGkmg"))
    return number * unit or None
