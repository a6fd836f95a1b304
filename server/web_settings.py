"""Two constants of the project's web pages, ``html/project/project.inc``: no calls to StopForumSpam, and invitation codes."""

from __future__ import annotations

import re

from server.record import Change, Record

NAME = "html/project/project.inc"
#: What is said of a change ends in logs: whoever reads them must not be able to make an account.
SECRET = {"INVITE_CODES"}


def invite_pattern(codes: tuple[str, ...]) -> str:
    """The PHP value of INVITE_CODES for these codes, letters, digits, - and _ only."""
    return f'"/^({"|".join(sorted(codes))})$/"'


def merge_web(content: bytes, values: dict[str, str], record: Record) -> tuple[bytes, list[str]]:
    """``project.inc`` with these PHP values, and what was changed."""
    lines: list[str] = []
    for name, value in values.items():
        line = f'define("{name}", {value});'
        found = _definition(name).search(content)
        if found is not None and found[0].decode("utf-8", "replace") == line:
            continue
        known = record.web.get(name)
        current = None if found is None else found[0].decode("utf-8", "replace")
        before = known.before if known is not None and known.after == current else current
        record.web[name] = Change(before, line)
        lines.append(f"{NAME}: {name} {'changed' if name in SECRET else value}")
        if found is not None:
            content = content[: found.start()] + line.encode() + content[found.end() :]
        else:
            opening = re.search(rb"<\?php[^\n]*\n", content)
            place = opening.end() if opening else 0
            content = content[:place] + line.encode() + b"\n" + content[place:]
    return content, lines


def restore_web(content: bytes, record: Record, only: str | None = None) -> tuple[bytes, list[str]]:
    """``project.inc`` as it was, and what was changed; ``only`` restores one constant."""
    lines: list[str] = []
    for name, change in reversed(list(record.web.items())):
        if only not in (None, name):
            continue
        found = _definition(name).search(content)
        if found is None or found[0].decode("utf-8", "replace") != change.after:
            lines.append(f"{NAME}: {name} was changed since and stays")
        elif change.before is None:
            content = content[: found.start()] + content[found.end() :].removeprefix(b"\n")
            lines.append(f"{NAME}: {name} removed")
        else:
            content = content[: found.start()] + change.before.encode() + content[found.end() :]
            lines.append(f"{NAME}: {name} as before")
    return content, lines


def _definition(name: str) -> re.Pattern[bytes]:
    """A definition that is not in a comment."""
    quoted = rb"""["']""" + re.escape(name.encode()) + rb"""["']"""
    return re.compile(rb"(?m)^define\s*\(\s*" + quoted + rb"\s*,[^\n]*?\)\s*;")
