"""``holdfast demo``: the main job on a small local fleet, judged by clients that never stop."""

from holdfast.demo.main import main

__all__ = ["main"]
