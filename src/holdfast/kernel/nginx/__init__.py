"""nginx: whole generations of files, tested before they are live; not what is in them.

What is refused changes nothing, what is live was tested, a crash leaves the old or the new.
"""

from holdfast.kernel.nginx.change import Outcome, go_live, take_back
from holdfast.kernel.nginx.disk import change_lock, control_port
from holdfast.kernel.nginx.generations import Candidate, Drift, Generation, Generations
from holdfast.kernel.nginx.master import control_get, control_status, loaded_generation
from holdfast.kernel.nginx.program import Nginx, NginxStatus, TestResult

__all__ = [
    "Candidate",
    "Drift",
    "Generation",
    "Generations",
    "Nginx",
    "NginxStatus",
    "Outcome",
    "TestResult",
    "change_lock",
    "control_get",
    "control_port",
    "control_status",
    "go_live",
    "loaded_generation",
    "take_back",
]
