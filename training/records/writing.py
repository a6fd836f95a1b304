"""A data set's chops in the forms that other programs train from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crystal_search.atomic import atomic_file, write_atomically
from crystal_search.classes import NAMES
from crystal_search.extras import missing
from training.records.recordio import Record, write_records
from training.shards import Arrays

CLASSES_TXT = "classes.txt"


@dataclass(frozen=True, slots=True)
class Encoding:
    """How chops are packed: ``jpg`` at a quality as im2rec does it, or ``png``, which loses nothing."""

    form: str = "jpg"
    quality: int = 95

    def __call__(self, chop: npt.NDArray[np.uint8]) -> bytes:
        options = [cv2.IMWRITE_JPEG_QUALITY, self.quality] if self.form == "jpg" else []
        done, packed = cv2.imencode(f".{self.form}", chop, options)
        assert done, "a chop of bytes can be packed"
        return bytes(packed)


def write_rec(out: Path, part: str, chops: Arrays, encoding: Encoding) -> list[Path]:
    """``PART.rec`` and ``.idx`` as MXNet's im2rec makes them of gray images, the ``.lst`` that it would make them from, and the names of
    the labels. Numbers count from 0 in the order of the chops."""
    labels = [int(label) for label in chops["labels"]]
    images = zip(labels, chops["pixels"], strict=True)
    write_records(out / f"{part}.rec", (Record(n, float(label), encoding(chop)) for n, (label, chop) in enumerate(images)))
    lines = "".join(f"{n}\t{label:.6f}\t{NAMES[label]}/{part}_{n:07d}.{encoding.form}\n" for n, label in enumerate(labels))
    write_atomically(out / f"{part}.lst", lines.encode())
    _write_names(out)
    return [out / f"{part}.rec", out / f"{part}.idx"]


def write_tfrecord(out: Path, part: str, chops: Arrays, encoding: Encoding) -> list[Path]:
    """``PART.tfrecord`` with the features of MARCO's records, which ``dataset build --tfrecord`` reads."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise missing("records in TensorFlow's form", "TensorFlow") from error

    def feature(value: bytes | int) -> Any:
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    path = out / f"{part}.tfrecord"
    partial = out / f".{part}.tfrecord.part"
    with tf.io.TFRecordWriter(str(partial)) as writer:
        for label, chop in zip(map(int, chops["labels"]), chops["pixels"], strict=True):
            values = {
                "image/encoded": encoding(chop),
                "image/format": encoding.form.encode(),
                "image/height": chop.shape[0],
                "image/width": chop.shape[1],
                "image/class/label": label,
                "image/class/text": NAMES[label].encode(),
            }
            features = tf.train.Features(feature={name: feature(value) for name, value in values.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())
    partial.replace(path)
    _write_names(out)
    return [path]


def write_hdf5(out: Path, part: str, chops: Arrays, _encoding: Encoding) -> list[Path]:
    """``PART.h5`` with the arrays ``pixels`` uint8 (n, side, side), not compressed, and ``labels`` uint8 (n,)."""
    try:
        import h5py
    except ImportError as error:
        raise missing("records in HDF5", "h5py") from error
    with atomic_file(out / f"{part}.h5") as file, h5py.File(file, "w") as stored:
        stored["pixels"], stored["labels"] = chops["pixels"], chops["labels"]
        stored.attrs["classes"] = list(NAMES)
    return [out / f"{part}.h5"]


FORMS: dict[str, Callable[[Path, str, Arrays, Encoding], list[Path]]] = {"rec": write_rec, "tfrecord": write_tfrecord, "hdf5": write_hdf5}


def _write_names(out: Path) -> None:
    write_atomically(out / CLASSES_TXT, "".join(f"{name}\n" for name in NAMES).encode())
