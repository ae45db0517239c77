"""What every group of routes is made with."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.params import Depends as Dependency

from holdfast.kernel.web.deps import refuse_unknown_dry_run, refuse_unstorable


class Router(APIRouter):
    """Routes that refuse what no database can keep, and a dry run where there is none.

    An application takes them as they are: included in another router, the framework would work
    each of them out again, which takes it a second for all.
    """

    def __init__(self, *, dependencies: Sequence[Dependency] = (), **options: Any) -> None:  # noqa: ANN401 - the framework's own
        checks = [Depends(refuse_unstorable), Depends(refuse_unknown_dry_run)]
        super().__init__(dependencies=[*checks, *dependencies], **options)
