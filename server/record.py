"""What ``server install`` changed in a project, so that it can be taken back: ``crystal_search_install.json``."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from crystal_search.errors import CrystalSearchError

FILE = "crystal_search_install.json"


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """``before`` as the file said it, None where it said nothing; ``after`` is ours."""

    before: str | None
    after: str


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """All changes. ``values`` is keyed by ``config.xml``'s element, ``web`` by the constant's name."""

    version: int = 1
    files: dict[str, str] = msgspec.field(default_factory=dict)  # ours alone: SHA-256
    values: dict[str, Change] = msgspec.field(default_factory=dict)
    feeders: list[Change] = msgspec.field(default_factory=list)
    daemons: list[str] = msgspec.field(default_factory=list)
    added: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)  # file: name of what we appended: its text
    created: list[str] = msgspec.field(default_factory=list)
    web: dict[str, Change] = msgspec.field(default_factory=dict)


def read_record(content: bytes | None) -> Record | None:
    """The record of an earlier install, None when there was none. Raises ``CrystalSearchError`` when it can not be understood."""
    if content is None:
        return None
    try:
        record = msgspec.json.decode(content, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CrystalSearchError(
            f"{FILE}: can not be understood ({error}): restore it, or the *.before_crystal_search copies by hand"
        ) from error
    if record.version != 1:
        raise CrystalSearchError(f"{FILE}: version {record.version}, this program reads 1: update it")
    return record


def write_record(record: Record) -> bytes:
    """The record as a file that a person can read."""
    plain: Any = msgspec.to_builtins(record)
    return (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode()
