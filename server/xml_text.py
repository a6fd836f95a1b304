"""Changes to somebody else's XML file that touch nothing but what is changed.

BOINC's files are edited by hand and read by three different parsers (C++, PHP, Python), so a file is never written anew from a
tree: an element is found by a real parser, and its bytes are replaced. Comments, order, indentation and quotes stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from crystal_search.errors import CrystalSearchError


class XmlError(CrystalSearchError):
    """A file that is no XML, or not the XML that was expected; one line."""


@dataclass
class Element:
    """One element with the place of its bytes: ``start`` to ``end`` with its tags, ``inner`` to ``inner_end`` without."""

    name: str
    start: int
    inner: int
    inner_end: int = 0
    end: int = 0
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, name: str) -> list[Element]:
        """The children of that name, in order."""
        return [child for child in self.children if child.name == name]

    def first(self, name: str) -> Element | None:
        return next(iter(self.all(name)), None)

    def value(self, name: str) -> str | None:
        """The text of the first child of that name without spaces around it; None without such a child."""
        child = self.first(name)
        return None if child is None else child.text.strip()

    def walk(self) -> Iterator[Element]:
        yield self
        for child in self.children:
            yield from child.walk()


def parse(content: bytes, name: str) -> Element:
    """The root element of a document. Raises ``XmlError`` naming the file and the line."""
    found = _Reader(content)
    try:
        content.decode()
        found.parser.Parse(content, True)
    except UnicodeDecodeError as error:
        raise XmlError(f"{name}: not in UTF-8: convert it first") from error
    except expat.ExpatError as error:
        raise XmlError(f"{name}: not well-formed XML ({error}): mend it by hand first") from error
    assert found.root is not None  # expat refuses a document without one
    return found.root


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.root: Element | None = None
        self._open: list[Element] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        start = self.parser.CurrentByteIndex
        tag = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*>""").match(self.content, start)
        assert tag is not None  # expat has read it
        element = Element(name, start, tag.end())
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _end(self, _name: str) -> None:
        element = self._open.pop()
        place = self.parser.CurrentByteIndex
        if self.content[element.inner - 2 : element.inner] == b"/>":
            element.inner_end = element.end = element.inner
        else:
            element.inner_end = place
            element.end = self.content.index(b">", place) + 1

    def _text(self, text: str) -> None:
        self._open[-1].text += text


def with_text(content: bytes, element: Element, text: str) -> bytes:
    """The document with another text in an element that has no children."""
    new = f"<{element.name}>{escape(text)}</{element.name}>"
    return content[: element.start] + new.encode() + content[element.end :]


def with_child(content: bytes, parent: Element, block: str) -> bytes:
    """The document with ``block``, lines of XML, as the last child of ``parent``, indented as its brothers are."""
    indent, depth = _indent(content, parent)
    lines = ("\n" + "\n".join(indent + line for line in block.splitlines())).encode()
    if content[parent.inner - 2 : parent.inner] == b"/>":
        return (
            content[: parent.start]
            + f"<{parent.name}>".encode()
            + lines
            + b"\n"
            + depth
            + f"</{parent.name}>".encode()
            + content[parent.end :]
        )
    if parent.children:
        place = parent.children[-1].end
        return content[:place] + lines + content[place:]
    return content[: parent.inner] + lines + content[parent.inner :]


def without(content: bytes, element: Element) -> bytes:
    """The document without an element and the white space before it: what ``with_child`` put there is gone without a trace."""
    start = element.start
    while content[start - 1 : start].isspace():
        start -= 1
    return content[:start] + content[element.end :]


def _indent(content: bytes, parent: Element) -> tuple[str, bytes]:
    """What stands before each child of ``parent``, and before itself."""
    own = _before(content, parent.start)
    if parent.children:
        return _before(content, parent.children[-1].start).decode(), own
    return own.decode() + "    ", own


def _before(content: bytes, place: int) -> bytes:
    line = content[content.rfind(b"\n", 0, place) + 1 : place]
    return line if not line.strip() else b""
