"""How often a worker does what, in seconds."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How long a silent worker counts as alive, and how often it gives a sign."""

    lease_seconds: float = 10.0
    beat_seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTimes:
    """How often a worker looks after what."""

    pass_seconds: float = 0.3
    """Pause between two looks at what may start, has ended or is to be cancelled."""
    idle_seconds: float = 10.0
    """The same at most, while no job is under way, none is due and nobody writes anything."""
    takeover_seconds: float = 1.0
    cleaning_seconds: float = 3600.0
    closing_seconds: float = 20.0
    """How long interrupted jobs may take to clean up when the worker stops."""
    lost_seconds: float = 150.0
    """So long after a job stopped running here without its end on record, it is given in again.

    The engine underneath tries to write that end anew for as long as its database is away or busy:
    between two tries it pauses up to 90 s, and one may take 30 s.
    """
    lease: LeaseTimes = field(default_factory=LeaseTimes)
