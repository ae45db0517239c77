"""What every group of routes is made with."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from holdfast.kernel.web.deps import refuse_unknown_dry_run, refuse_unstorable


class LateRoute(APIRoute):
    """A route that is worked out when it is first asked for: what it takes, and what it answers.

    That takes a millisecond; all of them take a fifth of a server's start, and most of the time of
    a command that calls one of them in its own process.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - the framework's own
        """What tells whether a request is its, and nothing else."""
        self._options: dict[str, Any] | None = options
        self.path, self.endpoint = path, endpoint
        self.methods = set(options.get("methods") or ["GET"])
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whichever is not there yet
        """Work it out, as something else of it is needed."""
        options = self.__dict__.get("_options")
        if options is None:
            raise AttributeError(name)
        before = dict(self.__dict__)
        self._options = None
        try:
            super().__init__(self.path, self.endpoint, **options)
        except BaseException:
            self.__dict__ = before  # nothing by halves: who asks next is told the same error
            raise
        return getattr(self, name)


class Router(APIRouter):
    """Routes that refuse what no database can keep, and a dry run where there is none.

    An application takes them as they are: included in another router, the framework would work
    each of them out again, which takes it a second for all.
    """

    def __init__(
        self,
        *,
        dependencies: Sequence[Dependency] = (),
        route_class: type[LateRoute] = LateRoute,
        **options: Any,  # noqa: ANN401 - the framework's own
    ) -> None:
        checks = [Depends(refuse_unstorable), Depends(refuse_unknown_dry_run)]
        super().__init__(dependencies=[*checks, *dependencies], route_class=route_class, **options)
