"""Log lines: one event name and its fields, for a person or as JSON. No names, no birth dates."""

from __future__ import annotations

import logging
import sys
import warnings

import structlog

from node.settings import Log


def configure(settings: Log) -> None:
    """Everything that is logged from now on goes to the standard error stream, as set."""
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if settings.format == "console":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *([structlog.processors.format_exc_info] if settings.format == "json" else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    warnings.simplefilter("ignore")  # pydicom's repeat malformed values, which may be a name
    # Libraries log identifiers; what they have to say reaches us as statuses and exceptions.
    for name in ("pynetdicom", "pydicom", "apscheduler"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
