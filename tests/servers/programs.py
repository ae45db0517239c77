"""Programs of the tests, begun as ``holdfast`` itself begins."""

import sys

_BEGIN = """
import runpy, sys
from holdfast.kernel import collector
collector.begin()
try:
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
finally:
    collector.end()
"""


def words_of(module: str, *arguments: str) -> list[str]:
    """The words that run a module; to import what a server has takes a second otherwise."""
    return [sys.executable, "-c", _BEGIN, module, *arguments]
