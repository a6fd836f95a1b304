"""MARCO's TFRecords: one tf.train.Example an image, with image/encoded, image/class/text or image/class/label, image/height and width.

Records are framed as TensorFlow's format says: length (8 bytes, little endian), its masked CRC-32C, the data, their masked CRC-32C. We
walk that frame ourselves, so that a corrupt record fails alone; TensorFlow's own reader gives up the rest of the file.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from crystal_search.errors import UsageError
from crystal_search.extras import missing
from training.datasets.scored_image import CLASS_OF_GROUP, Found, ImageFile, ScoredImage
from training.evaluation.judgement import Words, judgement_of

#: Far more than an image has; a longer record means a damaged length.
MAX_RECORD_BYTES = 512 * 1024 * 1024


def read_tfrecords(paths: Sequence[Path], label_names: Sequence[str] = ()) -> Found:
    """The images of TFRecord files, whose bytes stay in the files.

    ``label_names`` are the words that image/class/label counts, from 0 on; they are needed only where a record has no
    image/class/text. MARCO tells no plates: a file counts as a plate, so that at least no file is in two parts. A record with a
    mistake is left out with one line; so is an empty file. Raises ``SettingsError`` without TensorFlow, ``UsageError`` for a file that
    can not be read.
    """
    example = _example_type()
    images: list[ScoredImage] = []
    problems: list[str] = []
    hashes: dict[str, str] = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                for number, (start, data, problem) in enumerate(_records(file), 1):
                    try:
                        if problem:
                            raise ValueError(problem)
                        images.append(_scored(example, path, number, start, data, label_names))
                    except ValueError as error:
                        problems.append(f"{path} record {number}: {error}")
                if not file.tell():
                    problems.append(f"{path}: the file is empty: copy it again from where it was made")
                file.seek(0)
                hashes[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UsageError(f"{path}: can not be read ({error.strerror})") from error
    notes = (f"TFRecords tell no plates: each of the {len(paths)} files counts as one",) if images else ()
    return Found(", ".join(map(str, paths)), tuple(images), tuple(problems), notes, hashes)


def _example_type() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its lines about graphics cards would hide ours
    try:
        from tensorflow.train import Example
    except ImportError as error:
        raise missing("--tfrecord", "TensorFlow") from error
    return Example


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes, str]]:
    """Where each record's data start, the data, and what is wrong with them (empty: nothing)."""
    while head := file.read(12):
        start = file.tell()
        if len(head) < 12 or masked_crc32c(head[:8]) != struct.unpack("<I", head[8:])[0]:
            yield start, b"", "its length is corrupt: the rest of the file can not be read"
            return
        (length,) = struct.unpack("<Q", head[:8])
        if length > MAX_RECORD_BYTES:
            yield start, b"", f"{length} bytes are no image: the rest of the file can not be read"
            return
        data, tail = file.read(length), file.read(4)
        if len(data) < length or len(tail) < 4:
            yield start, b"", "the file ends within it"
            return
        sound = masked_crc32c(data) == struct.unpack("<I", tail)[0]
        yield start, data, "" if sound else "it is corrupt, its checksum does not match"


def _scored(example: Any, path: Path, number: int, start: int, data: bytes, label_names: Sequence[str]) -> ScoredImage:
    try:
        features = example.FromString(data).features.feature
    except Exception as error:  # protobuf's own kind, which moved between its versions
        raise ValueError("it is not a tf.train.Example") from error
    encoded = _first(features, "image/encoded", "bytes_list")
    if not encoded:
        raise ValueError("it has no image/encoded")
    text = _first(features, "image/class/text", "bytes_list")
    if text is None:
        label = _first(features, "image/class/label", "int64_list")
        if label is None:
            raise ValueError("it has neither image/class/text nor image/class/label")
        if not 0 <= label < len(label_names):
            raise ValueError(f"its label is the number {label} without a text: name what the numbers mean with --label-names")
        text = label_names[label].encode()
    judgement = judgement_of(text.decode("utf-8", errors="backslashreplace").strip(), Words.GROUPS)
    if judgement.empty:
        raise ValueError("an empty well, which has no drop to cut chops from")
    return ScoredImage(
        name=f"{path.name}#{number}",
        image=ImageFile(path, start + data.index(encoded), len(encoded)),
        class_name=judgement.class_name or CLASS_OF_GROUP[judgement.group],
        plate=f"file {path.name}",
        source=str(path),
        only_group=judgement.class_name is None,
    )


def _first(features: Any, name: str, kind: str) -> Any:
    """The first value of a feature, None where there is none."""
    values = getattr(features[name], kind).value if name in features else ()
    return values[0] if values else None


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of ``data``, turned by 15 bits and shifted as TensorFlow stores it."""
    crc, table = 0xFFFFFFFF, _CRC_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
