"""Our part of ``config.xml``: values of the project, the feeder's order, and the two daemons of our application."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from server.record import Change, Record
from server.xml_text import Element, parse, with_child, with_text, without

NAME = "config.xml"
APP = "crystal_search"
_ORDER = "--priority_order_create_time"
#: What also tells a feeder an order; the last one would win.
_OTHER_ORDERS = {"random_order", "random_order_db", "priority_order", "priority_asc", "priority_order_create_time", "by_batch"}


def daemon_commands(compare: bool) -> dict[str, str]:
    """Our daemons by their program: script names alone, for some releases drop what is behind them."""
    validator = f'script_validator -d 3 --app {APP} --init_script "{APP}_validate"'
    if compare:
        validator += f' --compare_script "{APP}_compare"'
    return {"script_validator": validator, "script_assimilator": f'script_assimilator -d 3 --app {APP} --script "{APP}_assimilate"'}


def merge_config(content: bytes, values: Mapping[str, str], daemons: Mapping[str, str], record: Record) -> tuple[bytes, list[str]]:
    """``config.xml`` with our values, order and daemons, and what was changed, a line each. Notes in ``record`` how to take it back."""
    lines: list[str] = []
    for name, wanted in values.items():
        content = _set_value(content, name, wanted, record, lines)
    content = _order_feeders(content, record, lines)
    for program, command in daemons.items():
        content = _set_daemon(content, program, command, record, lines)
    return content, lines


def restore_config(content: bytes, record: Record) -> tuple[bytes, list[str]]:
    """``config.xml`` as it would be without us, and what was changed; what the admin has changed since stays as it is."""
    lines: list[str] = []
    for daemon in reversed(_daemons(content)):
        if _is_ours(daemon) is not None:
            content = without(content, daemon)
            lines.append(f"{NAME}: daemon {_is_ours(daemon)} removed")
    for change in record.feeders:
        for daemon in _daemons(content):
            command = daemon.first("cmd")
            if command is not None and command.text.strip() == change.after:
                content = _put(content, command, change.before or "")
                lines.append(f"{NAME}: feeder as before")
                break
        else:
            lines.append(f"{NAME}: feeder was changed since and stays")
    for name, change in reversed(record.values.items()):
        element = _config(content).first(name)
        if element is None or element.text.strip() != change.after:
            lines.append(f"{NAME}: {name} was changed since and stays")
        elif change.before is None:
            content = without(content, element)
            lines.append(f"{NAME}: {name} removed")
        else:
            content = _put(content, element, change.before)
            lines.append(f"{NAME}: {name} as before")
    return content, lines


def missing_daemons(content: bytes) -> list[str]:
    """Which of BOINC's own daemons are not in ``config.xml``: without them no work is sent."""
    there = {_program(daemon) for daemon in _daemons(content)}
    return [name for name in ("feeder", "transitioner", "file_deleter") if name not in there]


def _set_value(content: bytes, name: str, wanted: str, record: Record, lines: list[str]) -> bytes:
    config = _config(content)
    element = config.first(name)
    current = None if element is None else element.text.strip()
    known = record.values.get(name)
    if current == wanted and element is not None:
        if known is None:
            return content  # it was the admin's own choice and stays at the end
        record.values[name] = Change(known.before, wanted)
        return content
    if known is None or current != known.after:
        known = Change(None if element is None else _source(content, element), wanted)
    record.values[name] = Change(known.before, wanted)
    lines.append(f"{NAME}: {name} {'(not set)' if current is None else current or '(empty)'} -> {wanted}")
    if element is None:
        return with_child(content, config, f"<{name}>{wanted}</{name}>")
    return with_text(content, element, wanted)


def _order_feeders(content: bytes, record: Record, lines: list[str]) -> bytes:
    for number in range(len(_daemons(content))):
        daemon = _daemons(content)[number]
        command = daemon.first("cmd")
        if command is None or _program(daemon) != "feeder":
            continue
        words = [word for word in command.text.split() if word.lstrip("-") not in _OTHER_ORDERS]
        wanted = " ".join([*words, _ORDER])
        if _ORDER in command.text.split() and len(words) + 1 == len(command.text.split()):
            continue
        record.feeders = [change for change in record.feeders if change.after != wanted]
        record.feeders.append(Change(_source(content, command), wanted))
        lines.append(f"{NAME}: feeder sends the highest priority first ({_ORDER})")
        content = with_text(content, command, wanted)
    return content


def _set_daemon(content: bytes, program: str, command: str, record: Record, lines: list[str]) -> bytes:
    block = (
        f"<daemon>\n    <output>{program}_{APP}.log</output>\n    <pid_file>{program}_{APP}.pid</pid_file>\n"
        f"    <cmd>{command}</cmd>\n</daemon>"
    )
    if program not in record.daemons:
        record.daemons.append(program)
    for daemon in _daemons(content):
        if _is_ours(daemon) == program:
            current = daemon.first("cmd")
            assert current is not None
            if current.text.strip() == command:
                return content
            lines.append(f"{NAME}: daemon {program} changed")
            return with_text(content, current, command)
    parent = parse(content, NAME).first("daemons")
    assert parent is not None  # open_project has looked
    lines.append(f"{NAME}: daemon {program} for {APP} added")
    return with_child(content, parent, block)


def _daemons(content: bytes) -> list[Element]:
    parent = parse(content, NAME).first("daemons")
    return [] if parent is None else parent.all("daemon")


def _config(content: bytes) -> Element:
    config = parse(content, NAME).first("config")
    assert config is not None  # open_project has looked
    return config


def _program(daemon: Element) -> str:
    return ((daemon.value("cmd") or "").split() or [""])[0].rpartition("/")[2]


def _is_ours(daemon: Element) -> str | None:
    """The program of a daemon that works for our application, else None."""
    words = (daemon.value("cmd") or "").split()
    ours = any(first.lstrip("-") == "app" and second == APP for first, second in pairwise(words))
    program = _program(daemon)
    return program if ours and program in daemon_commands(False) else None


def _source(content: bytes, element: Element) -> str:
    return content[element.start : element.end].decode()


def _put(content: bytes, element: Element, source: str) -> bytes:
    return content[: element.start] + source.encode() + content[element.end :]
