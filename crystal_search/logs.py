"""How log lines look: plain for people, or one JSON object a line for programs that collect logs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

Format = Literal["plain", "json"]

_PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_chosen: Format | None = None


class JsonFormatter(logging.Formatter):
    """A record as one line: ``time`` (UTC, ISO), ``level``, ``service``, ``message``, and ``trace`` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def start_log(verbose: bool, chosen: Format | None) -> None:
    """Set logging up for a program; ``chosen`` on the command line wins over the settings."""
    global _chosen
    _chosen = chosen
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format=_PLAIN, stream=sys.stderr)
    use_log_format(chosen or "plain")


def use_log_format(wanted: Format) -> None:
    """Let the program's own handlers write so, unless the command line has chosen."""
    formatter = JsonFormatter() if (_chosen or wanted) == "json" else logging.Formatter(_PLAIN)
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:  # not somebody else's, such as a test's
            handler.setFormatter(formatter)


def log_is_json() -> bool:
    """Whether what the program says at its end has to be a JSON line too."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)
