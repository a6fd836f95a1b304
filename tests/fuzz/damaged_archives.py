"""Work units, results and checkpoints with every trick that a ZIP file knows, and with documents that lie."""

from __future__ import annotations

import hashlib
import io
import re
import stat
import warnings
import zipfile
from typing import Any

import msgspec
from tiny_model import encoded, picture

from .damage import Chance, damage, number, pick, splice
from .damaged_texts import damaged_json
from .images import seeds

IDS = ("a" * 32, "b" * 32)
_MODEL = {"name": "tiny-1", "sha256": "0" * 64}
_NAMES = (
    *("../evil.jpg", "/etc/passwd", "a/../../evil.jpg", "..", "C:\\evil.jpg", "sub/a.jpg", ".hidden", "a\nb.jpg", "overlays/"),
    *(
        "overlays/../x.jpg",
        "x" * 5000,
        "manifest.json",
        "results.json",
        "NUL.jpg",
        "a.jpg\0.exe",
        "\u202egpj.exe",
        f"overlays/{'c' * 32}.jpg",
    ),
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_KINDS = (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR, stat.S_IFSOCK)
_RECORDS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06")
#: Where the fields of each record begin and how long they are.
_FIELDS = (
    ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    ((6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (34, 2), (38, 4), (42, 4)),
    ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
)
_PICTURE = encoded(picture(size=(64, 48)), "JPEG")

Entries = list[tuple[str | zipfile.ZipInfo, bytes]]


def manifest(contents: list[bytes]) -> dict[str, Any]:
    """The manifest of a work unit of these images, with right hashes."""
    images = [
        {"id": i, "file": f"{i}.jpg", "sha256": hashlib.sha256(c).hexdigest(), "kind": "visible", "um_per_px": None}
        for i, c in zip(IDS, contents, strict=False)
    ]
    return {
        "format_version": 1,
        "name": "wu_test_1",
        "model": _MODEL,
        "step": 16,
        "threshold": 0.5,
        "chops": 5,
        "overlays": ["all"],
        "images": images,
    }


def results() -> dict[str, Any]:
    """A right answer to ``manifest``: one image scored, one failed."""
    chop = {"box": [10, 20, 170, 180], "class_name": "precipitate", "probability": 0.93}
    scored = {
        "id": IDS[0], "status": "scored", "reason": None, "drop_box": [10, 20, 300, 400], "class_name": "precipitate", "score": "13",
        "probability": 0.93, "crystal_probability": 0.02, "chops": [chop], "seconds": 0.5,
    }  # fmt: skip
    failed = {"id": IDS[1], "status": "failed", "reason": "not an image"}
    runtime = {"client_version": "0.1.0", "model": _MODEL, "runtime": "onnxruntime", "provider": "CPU"}
    return {"format_version": 1, "work_unit": "wu_test_1", **runtime, "images": [scored, failed]}


def zipped(entries: Entries, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the same name twice
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, content in entries:
                entry = zipfile.ZipInfo(name) if isinstance(name, str) else name  # without the time of day: an input can be made again
                archive.writestr(entry, content, method)
    return file.getvalue()


def damaged_work_unit(chance: Chance) -> bytes:
    contents = [pick(chance, seeds()) if chance.random() < 0.5 else _PICTURE for _ in IDS]
    document = _json(chance, manifest(contents))
    return _damaged_zip(chance, [("manifest.json", document), *((f"{i}.jpg", c) for i, c in zip(IDS, contents, strict=True))])


def damaged_results(chance: Chance) -> bytes:
    return _damaged_zip(chance, [("results.json", _json(chance, results())), (f"overlays/{IDS[0]}.jpg", _PICTURE)])


def _json(chance: Chance, document: dict[str, Any]) -> bytes:
    return damaged_json(chance, document) if chance.random() < 0.5 else msgspec.json.encode(document)


def _damaged_zip(chance: Chance, entries: Entries) -> bytes:
    how = chance.random()
    if how < 0.25:
        return zipped(entries)  # the document may be damage enough
    if how < 0.5:
        return _with_a_trick(chance, entries)
    content = zipped(entries, pick(chance, _METHODS))
    if how < 0.8:
        return _with_other_fields(chance, content)
    if how < 0.95:
        return damage(chance, content)
    return splice(chance, content, zipped(entries[::-1]))


def _with_a_trick(chance: Chance, entries: Entries) -> bytes:
    """Names, links, bombs, nests and doubles."""
    which = int(chance.integers(len(entries)))
    name, content = entries[which]
    how = int(chance.integers(8))
    if how == 0:
        entries.append((pick(chance, _NAMES), content))
    elif how == 1:
        entries[which] = (pick(chance, _NAMES), content)
    elif how == 2:
        link = zipfile.ZipInfo(str(name))
        link.external_attr = (pick(chance, _KINDS) | 0o777) << 16
        entries[which] = (link, b"/etc/passwd")
    elif how == 3:
        entries[which] = (name, bytes(int(chance.integers(1, 12)) * 2**20))
        return (
            _with_other_fields(chance, zipped(entries, zipfile.ZIP_DEFLATED))
            if chance.random() < 0.5
            else zipped(entries, zipfile.ZIP_DEFLATED)
        )
    elif how == 4:
        entries[which] = (name, zipped(entries, zipfile.ZIP_DEFLATED))
    elif how == 5:
        entries.append(entries[which])
    elif how == 6:
        entries += [(f"{n}.jpg", b"") for n in range(int(chance.integers(50, 300)))]
    else:
        del entries[which]
    return zipped(entries, pick(chance, _METHODS))


def _with_other_fields(chance: Chance, content: bytes) -> bytes:
    """One to three fields of headers, directory or end record with other numbers."""
    for _ in range(int(chance.integers(1, 4))):
        record = int(chance.integers(3))
        places = [found.start() for found in re.finditer(re.escape(_RECORDS[record]), content)]
        start = pick(chance, places) if places else -1
        if start >= 0 and record < 2 and chance.random() < 0.1:  # a name that is said to be UTF-8, and is not
            flags, name = ((6, 30), (8, 46))[record]
            text = bytearray(content)
            text[start + flags + 1 : start + flags + 2], text[start + name : start + name + 1] = b"\x08", b"\xff"
            content = bytes(text)
        elif start >= 0:
            offset, size = pick(chance, _FIELDS[record])
            content = content[: start + offset] + number(chance, size) + content[start + offset + size :]
    return content


def damaged_checkpoint(chance: Chance, key: str) -> bytes:
    """The checkpoint of an image, with a right checksum in most cases."""
    fields = [msgspec.msgpack.encode(results()["images"][0]), msgspec.msgpack.encode(_PICTURE), msgspec.msgpack.encode(key)]
    result, picture_, key_ = (damage(chance, field) if chance.random() < 0.4 else field for field in fields)
    payload = b"\x83\xa3key" + key_ + b"\xa6result" + result + b"\xa7overlay" + picture_
    if chance.random() < 0.3:
        payload = pick(chance, (b"\x91" * 5000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", damage(chance, payload)))
    content = hashlib.sha256(payload).digest() + payload
    return damage(chance, content) if chance.random() < 0.1 else content
