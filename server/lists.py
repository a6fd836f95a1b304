"""Our entries in lists that belong to the admin: platforms and application in ``project.xml``, classes in ``plan_class_spec.xml``."""

from __future__ import annotations

from server.record import Record
from server.xml_text import Element, parse, with_child, without


def merge_list(name: str, content: bytes, ours: bytes, record: Record) -> tuple[bytes, list[str]]:
    """The list with those of our entries that it lacks, and what was added. An entry of the same name stays as the admin wrote it."""
    lines: list[str] = []
    added = record.added.setdefault(name, {})
    for entry in parse(ours, f"our {name}").children:
        key, text = _key(entry), _text(ours, entry)
        present = {_key(element): element for element in parse(content, name).children}
        if key not in present:
            content = with_child(content, parse(content, name), text)
            added[key] = _text(content, parse(content, name).children[-1])
            lines.append(f"{name}: {key} added")
        elif key not in added and entry.name == "plan_class" and _text(content, present[key]) != text:
            lines.append(f"{name}: {key} was there already and stays as it is")
    return content, lines


def restore_list(name: str, content: bytes, record: Record) -> tuple[bytes, list[str]]:
    """The list without the entries that we added, and what was removed; one that was changed since stays."""
    lines: list[str] = []
    for key, text in reversed(record.added.get(name, {}).items()):
        for element in parse(content, name).children:
            if _key(element) == key:
                if _text(content, element) == text:
                    content = without(content, element)
                    lines.append(f"{name}: {key} removed")
                else:
                    lines.append(f"{name}: {key} was changed since and stays")
    return content, lines


def _key(entry: Element) -> str:
    return f"{entry.name} {entry.value('name')}"


def _text(content: bytes, element: Element) -> str:
    """The element with its own indentation taken off."""
    lines = content[element.start : element.end].decode().splitlines()
    before = content[content.rfind(b"\n", 0, element.start) + 1 : element.start].decode()
    indent = before if not before.strip() else ""
    return "\n".join(line.removeprefix(indent) for line in lines)
