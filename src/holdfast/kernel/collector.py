"""What the collector of cycles need not look at: a process keeps what it imports and builds."""

import gc

YOUNG_OBJECTS = 50_000
"""Objects that a beginning process makes before they are gone through; by default every 700, and
all there are ever again, which is a sixth of the work of a start."""
_RUNNING = gc.get_threshold()


def begin() -> None:
    """Let the process begin quickly."""
    gc.set_threshold(YOUNG_OBJECTS)


def keep_what_is_built() -> None:
    """From here on only what is made later is looked at, as often as by default.

    Going through the modules of a server stops its event loop for 40 ms.
    """
    gc.freeze()
    gc.set_threshold(*_RUNNING)


def end() -> None:
    """The process ends: nothing is looked at once more, which takes 0.3 s of a server."""
    gc.freeze()
