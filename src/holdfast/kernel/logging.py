"""Log events with fields, on stderr: lines for people on a terminal, JSON for programs."""

import logging
import sys
from typing import cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

SECRET_WORDS = (
    "secret",
    "password",
    "token",
    "api_key",
    "access_key",
    "authorization",
    "credential",
)
MASK = "****"


def is_secret_name(name: str) -> bool:
    """Whether a field of this name may hold a secret."""
    lowered = name.lower()
    return any(word in lowered for word in SECRET_WORDS)


def _mask_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {k: MASK if is_secret_name(k) and v else v for k, v in event.items()}


def configure(level: str, *, as_json: bool | None = None) -> None:
    """Set up logging for this process; ``as_json=None`` means: JSON unless stderr is a terminal."""
    use_json = not sys.stderr.isatty() if as_json is None else as_json
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _mask_secrets,
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if use_json
        # The default formatter prints local variables, secrets among them.
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, last]
        if use_json
        else [*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s %(message)s")


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose events carry ``name``."""
    return cast("FilteringBoundLogger", structlog.get_logger(part=name))
