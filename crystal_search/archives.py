"""The two archive formats: work units (images out to a volunteer) and results (scores back).

Both are ZIP files with one JSON document of a known ``format_version``. They are written atomically, and read as if an
enemy had written them: names, sizes, counts and hashes are checked before anything is used, and nothing is ever
extracted to a path that the archive chose.
"""

from __future__ import annotations

import errno
import hashlib
import math
import re
import secrets
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from crystal_search.atomic import atomic_file
from crystal_search.classes import BY_NAME, CLASSES, CRYSTAL_CLASSES
from crystal_search.errors import CrystalSearchError, TryAgainLater

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
RESULTS = "results.json"

MAX_IMAGES = 64
MAX_WORK_UNIT_BYTES = 64 * 1024 * 1024
MAX_OVERLAY_BYTES = 4 * 1024 * 1024
MAX_RESULT_BYTES = 64 * 1024 * 1024
_MAX_JSON_BYTES = 8 * 1024 * 1024
_ZIP_OVERHEAD = 64 * 1024  # headers of 64 entries
MAX_CHOPS = 100
#: Corners of a drop's outline: enough to look round, and 64 outlines take about 140 kB at the most.
MAX_OUTLINE = 64
#: No imager makes larger pictures; a claim beyond this is an attack or a broken file.
MAX_SIDE = 65_500

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
ImageId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
ImageFile = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\.(jpg|png|tif)$")]
WorkUnitName = Annotated[str, msgspec.Meta(pattern=r"^wu_[A-Za-z0-9-]{1,60}_[0-9]{1,9}$")]
Probability = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Line = Annotated[str, msgspec.Meta(max_length=500, pattern=r"^[^\r\n]*$")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=120, pattern=r"^[^\r\n]*$")]
OverlayKind = Annotated[str, msgspec.Meta(pattern="^(all|crystal|precipitate|other|clear|unsure|no_drop)$")]
PixelBox = tuple[int, int, int, int]
Point = tuple[int, int]


class ArchiveError(CrystalSearchError):
    """An archive, or one entry of it, that can not be trusted or read; the message says why in one line."""


class ImageKind(StrEnum):
    VISIBLE = "visible"
    UV = "uv"


class Status(StrEnum):
    """What became of one image. ``unsure`` and ``no_drop`` are results too; ``failed`` carries a reason."""

    SCORED = "scored"
    UNSURE = "unsure"
    NO_DROP = "no_drop"
    FAILED = "failed"


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class _Versioned(msgspec.Struct):
    """Read first, so that a newer format is named as such."""

    format_version: int


_DocumentT = TypeVar("_DocumentT", bound=_Document)


class ModelReference(_Document, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which model: its name and the SHA-256 of its ``model.toml``, which in turn holds the SHA-256 of every file."""

    name: Name
    sha256: Sha256


class WorkImage(_Document, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One image of a work unit under its random name; ``um_per_px`` is null where the scale is not known."""

    id: ImageId
    file: ImageFile
    sha256: Sha256
    kind: ImageKind = ImageKind.VISIBLE
    um_per_px: Annotated[float, msgspec.Meta(gt=0.0, le=1000.0)] | None = None


class Manifest(_Document, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a volunteer is asked to do. ``step`` (px at the model's resolution) and ``threshold`` override ``model.toml``; null keeps it.

    ``overlays`` names what to draw: groups of classes, ``unsure``, ``no_drop``, or ``all``; empty draws none.
    """

    format_version: int
    name: WorkUnitName
    model: ModelReference
    step: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    threshold: Probability | None = None
    chops: Annotated[int, msgspec.Meta(ge=0, le=MAX_CHOPS)] = 5
    overlays: Annotated[list[OverlayKind], msgspec.Meta(max_length=7)] = msgspec.field(default_factory=lambda: ["all"])
    images: Annotated[list[WorkImage], msgspec.Meta(min_length=1, max_length=MAX_IMAGES)]


class ChopResult(_Document, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the best chops: its half-open box in px of the original image, its class and that class's probability."""

    box: PixelBox
    class_name: str
    probability: Probability


class ImageResult(_Document, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the client says of one image. ``drop_box`` is in px of the original image, half-open.

    ``outline`` is the drop's edge in the same px, the corners of a closed polygon as x and y; ``class_probabilities`` has the largest
    probability of each of the model's classes in any window, ``rim`` (P2) apart from ``clear``, without those of 0. Clients of before had
    neither.
    """

    id: ImageId
    status: Status
    reason: Line | None = None
    drop_box: PixelBox | None = None
    outline: Annotated[list[Point], msgspec.Meta(max_length=MAX_OUTLINE)] = msgspec.field(default_factory=list)
    class_name: str | None = None
    score: str | None = None
    probability: Probability | None = None
    crystal_probability: Probability | None = None
    class_probabilities: dict[str, Probability] = msgspec.field(default_factory=dict)
    chops: Annotated[list[ChopResult], msgspec.Meta(max_length=MAX_CHOPS)] = msgspec.field(default_factory=list)
    seconds: Annotated[float, msgspec.Meta(ge=0.0, le=1e7)] = 0.0


class Results(_Document, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole answer to a work unit; ``images`` in the manifest's order."""

    format_version: int
    work_unit: WorkUnitName
    client_version: Name
    model: ModelReference
    runtime: Name
    provider: Name
    images: Annotated[list[ImageResult], msgspec.Meta(min_length=1, max_length=MAX_IMAGES)]


def random_id() -> str:
    """A name that tells a volunteer nothing: 128 random bits as 32 hex digits."""
    return secrets.token_hex(16)


def sha256_hex(content: bytes) -> str:
    """SHA-256 of ``content`` as 64 lower-case hex digits."""
    return hashlib.sha256(content).hexdigest()


def work_unit_name(batch: str, number: int) -> str:
    """The name ``wu_<batch>_<n>`` of work unit ``number`` of a batch."""
    name = f"wu_{batch}_{number}"
    if not re.fullmatch(r"wu_[A-Za-z0-9-]{1,60}_[0-9]{1,9}", name):
        raise ValueError(f"batch {batch!r} can not be part of a work unit's name: letters, digits and - only, 60 at most")
    return name


# ---- writing ----------------------------------------------------------------------------------------------------


def _write_zip(path: Path, entries: Iterable[tuple[str, bytes]]) -> None:
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)  # a fixed date: the same content gives the same bytes
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)


def write_work_unit(path: Path, manifest: Manifest, images: Mapping[str, bytes]) -> None:
    """Write a work unit (stored, not deflated) with ``images`` by their file names, atomically.

    Raises ``ArchiveError`` when the manifest breaks the format's limits or does not match the images.
    """
    if sorted(i.file for i in manifest.images) != sorted(images):
        raise ArchiveError(f"{path.name}: the manifest and the image files do not match")
    content = _encode(manifest, path)
    if len(content) + sum(map(len, images.values())) > MAX_WORK_UNIT_BYTES - _ZIP_OVERHEAD:
        raise ArchiveError(f"{path.name}: more than {MAX_WORK_UNIT_BYTES // 2**20} MB of images in one work unit")
    _write_zip(path, [(MANIFEST, content), *((i.file, images[i.file]) for i in manifest.images)])


def write_results(path: Path, results: Results, overlays: Mapping[str, bytes]) -> None:
    """Write a result archive with JPEG ``overlays`` by image id, atomically."""
    known = {image.id for image in results.images}
    if unknown := set(overlays) - known:
        raise ArchiveError(f"{path.name}: overlay {min(unknown)} belongs to no image")
    _write_zip(path, [(RESULTS, _encode(results, path)), *((f"overlays/{key}.jpg", overlays[key]) for key in sorted(overlays))])


def _encode(document: _Document, path: Path) -> bytes:
    content = msgspec.json.format(msgspec.json.encode(document), indent=1)
    try:
        msgspec.json.decode(content, type=type(document))  # constraints bind on decoding only
    except msgspec.ValidationError as error:
        raise ArchiveError(f"{path.name}: {error}") from error
    return content


# ---- reading ----------------------------------------------------------------------------------------------------


#: The record that ends a ZIP file without a comment, and the one before it that says the true sizes are elsewhere (ZIP64).
_END_RECORD, _END_LENGTH = b"PK\x05\x06", 22
_ZIP64_LOCATOR, _ZIP64_LOCATOR_LENGTH = b"PK\x06\x07", 20
#: No entry of ours needs more in the directory.
_DIRECTORY_BYTES_AN_ENTRY = 512


#: Reading ends so because of the archive: no file, or an impossible place in it. Any other error is the disk's or the network's.
_NOT_PASSING = {None, errno.EINVAL, errno.EOVERFLOW, errno.ENOENT, errno.EISDIR, errno.ENOTDIR}


def _unreadable(path: Path, entry: str, error: OSError) -> CrystalSearchError:
    """What a failed read says: of the archive, or of a disk or server that may work again later."""
    line = f"{path.name}: {entry}can not be read ({error.strerror or error})"
    return ArchiveError(line) if error.errno in _NOT_PASSING else TryAgainLater(f"{line}; try again later")


@contextmanager
def _open_zip(path: Path, max_bytes: int, max_entries: int) -> Iterator[zipfile.ZipFile]:
    """A ZIP whose directory has been checked: sizes, counts, names, kinds, and methods."""
    try:
        if path.stat().st_size > max_bytes:
            raise ArchiveError(f"{path.name}: larger than {max_bytes // 2**20} MB")
        _check_end(path, max_entries)
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise ArchiveError(f"{path.name}: not a readable ZIP archive ({type(error).__name__})") from error
    except FileNotFoundError as error:
        raise ArchiveError(f"{path.name}: no such file") from error
    except OSError as error:
        raise _unreadable(path, "", error) from error
    with archive:
        _check_directory(path, archive.infolist(), max_bytes, max_entries)
        yield archive


def _check_end(path: Path, max_entries: int) -> None:
    """Refuse a huge directory before it is read: a million entries fit into one archive, and would fill the memory."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_LENGTH - _ZIP64_LOCATOR_LENGTH))
        tail = file.read()
    end = tail[-_END_LENGTH:]
    if len(end) < _END_LENGTH or not end.startswith(_END_RECORD) or tail[:-_END_LENGTH].startswith(_ZIP64_LOCATOR):
        raise ArchiveError(f"{path.name}: not a readable ZIP archive (no plain end of a ZIP file)")
    entries, directory = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if entries > max_entries:
        raise ArchiveError(f"{path.name}: {entries} entries, at most {max_entries} are allowed")
    if directory > max_entries * _DIRECTORY_BYTES_AN_ENTRY:
        raise ArchiveError(f"{path.name}: a directory of {directory} bytes is not one of ours")


def _check_directory(path: Path, entries: list[zipfile.ZipInfo], max_bytes: int, max_entries: int) -> None:
    if len(entries) > max_entries:
        raise ArchiveError(f"{path.name}: {len(entries)} entries, at most {max_entries} are allowed")
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        raise ArchiveError(f"{path.name}: the same name twice")
    for entry in entries:
        name = entry.filename
        if not re.fullmatch(r"(overlays/)?[A-Za-z0-9_-]{1,80}\.[a-z]{1,4}", name):
            raise ArchiveError(f"{path.name}: refused entry name {name[:80]!r}")
        mode = entry.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise ArchiveError(f"{path.name}: {name} is not a plain file")
        if entry.flag_bits & 0x1:
            raise ArchiveError(f"{path.name}: {name} is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError(f"{path.name}: {name} is compressed in an unknown way")
    if sum(entry.file_size for entry in entries) > max_bytes:
        raise ArchiveError(f"{path.name}: unpacks to more than {max_bytes // 2**20} MB")


def _read_entry(path: Path, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """One entry, never more than ``limit`` bytes whatever its header claims."""
    try:
        with archive.open(name) as file:
            content = file.read(limit + 1)
    except KeyError as error:
        raise ArchiveError(f"{path.name}: {name} is missing") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise ArchiveError(f"{path.name}: {name} can not be read ({error})") from error
    except OSError as error:
        raise _unreadable(path, f"{name} ", error) from error
    if len(content) > limit:
        raise ArchiveError(f"{path.name}: {name} is larger than {limit} bytes")
    return content


def _decode(path: Path, name: str, content: bytes, kind: type[_DocumentT]) -> _DocumentT:
    try:
        version = msgspec.json.decode(content, type=_Versioned).format_version
        if version != FORMAT_VERSION:
            raise ArchiveError(f"{path.name}: format version {version}, this program reads {FORMAT_VERSION}: update the older side")
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{path.name}: {name}: {error}") from error


class WorkUnit:
    """An open work unit: ``manifest``, and each image's bytes on demand. Use ``open_work_unit``."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self._path = path
        self._archive = archive
        self.manifest = manifest

    def read_image(self, image: WorkImage) -> bytes:
        """The file of one image of the manifest. Raises ``ArchiveError`` when it is missing, unreadable or not the one promised."""
        content = _read_entry(self._path, self._archive, image.file, MAX_WORK_UNIT_BYTES)
        if sha256_hex(content) != image.sha256:
            raise ArchiveError(f"{self._path.name}: {image.file} does not match its SHA-256")
        return content


@contextmanager
def open_work_unit(path: Path) -> Iterator[WorkUnit]:
    """Open and check a work unit. Images are read one at a time, so that one bad image fails alone."""
    with _open_zip(path, MAX_WORK_UNIT_BYTES, MAX_IMAGES + 1) as archive:
        manifest = _decode(path, MANIFEST, _read_entry(path, archive, MANIFEST, _MAX_JSON_BYTES), Manifest)
        for field in ("id", "file"):
            if len({getattr(image, field) for image in manifest.images}) != len(manifest.images):
                raise ArchiveError(f"{path.name}: two images with the same {field}")
        yield WorkUnit(path, archive, manifest)


def read_results(path: Path) -> Results:
    """The results of an archive, checked in themselves (``check_results`` compares them with the work unit).

    Raises ``ArchiveError`` with one line for anything that is not exactly a result archive of this format, ``TryAgainLater`` when
    the disk fails.
    """
    with _open_zip(path, MAX_RESULT_BYTES, MAX_IMAGES + 1) as archive:
        results = _decode(path, RESULTS, _read_entry(path, archive, RESULTS, _MAX_JSON_BYTES), Results)
        known = {image.id for image in results.images}
        for name in archive.namelist():
            if name == RESULTS:
                continue
            folder, _, file = name.rpartition("/")
            if folder != "overlays" or not file.endswith(".jpg") or file[:-4] not in known:
                raise ArchiveError(f"{path.name}: {name} does not belong in a result")
            if not _read_entry(path, archive, name, MAX_OVERLAY_BYTES).startswith(b"\xff\xd8\xff"):
                raise ArchiveError(f"{path.name}: {name} is not a JPEG")
    for image in results.images:
        if problem := _inconsistency(image):
            raise ArchiveError(f"{path.name}: image {image.id}: {problem}")
    return results


def read_image_result(path: Path, image_id: str) -> ImageResult | None:
    """What the client said of one image of a result archive that ``read_results`` has taken; None where the archive has no such image.

    The pictures in it are not looked at, which would take longer than all the rest. Raises as ``read_results`` does.
    """
    with _open_zip(path, MAX_RESULT_BYTES, MAX_IMAGES + 1) as archive:
        results = _decode(path, RESULTS, _read_entry(path, archive, RESULTS, _MAX_JSON_BYTES), Results)
    return next((image for image in results.images if image.id == image_id), None)


def read_overlay(path: Path, image_id: str) -> bytes | None:
    """The JPEG overlay of one image of a result archive, or None where none was drawn."""
    with _open_zip(path, MAX_RESULT_BYTES, MAX_IMAGES + 1) as archive:
        name = f"overlays/{image_id}.jpg"
        return _read_entry(path, archive, name, MAX_OVERLAY_BYTES) if name in archive.namelist() else None


def overlay_sizes(path: Path) -> dict[str, int]:
    """How many bytes each overlay of a result archive takes in it, by image id."""
    with _open_zip(path, MAX_RESULT_BYTES, MAX_IMAGES + 1) as archive:
        return {Path(entry.filename).stem: entry.compress_size for entry in archive.infolist() if entry.filename.startswith("overlays/")}


def check_results(results: Results, manifest: Manifest, name: str = "result") -> None:
    """Compare a result with the work unit it answers: name, model, every image once, threshold obeyed.

    Raises ``ArchiveError`` with the first mismatch.
    """
    if results.work_unit != manifest.name:
        raise ArchiveError(f"{name}: answers {results.work_unit}, not {manifest.name}")
    if results.model != manifest.model:
        raise ArchiveError(f"{name}: scored with model {results.model.name}, not with the {manifest.model.name} that was asked for")
    wanted, given = [i.id for i in manifest.images], [i.id for i in results.images]
    if wanted != given:
        missing = len(set(wanted) - set(given))
        raise ArchiveError(f"{name}: not the work unit's images in order ({missing} missing, {len(set(given) - set(wanted))} foreign)")
    for image in results.images:
        if len(image.chops) > manifest.chops:
            raise ArchiveError(f"{name}: image {image.id}: {len(image.chops)} chops, {manifest.chops} were asked for")
        if manifest.threshold is not None and image.probability is not None and image.probability <= manifest.threshold:
            raise ArchiveError(f"{name}: image {image.id}: scored at {image.probability}, not above the threshold {manifest.threshold}")


def _inconsistency(image: ImageResult) -> str | None:
    """Why the fields of one image's result contradict each other, or None."""
    boxes = [chop.box for chop in image.chops] + ([image.drop_box] if image.drop_box else [])
    for x0, y0, x1, y1 in boxes:
        if not (0 <= x0 < x1 <= MAX_SIDE and 0 <= y0 < y1 <= MAX_SIDE):
            return f"impossible box {x0},{y0},{x1},{y1}"
    for class_name in [*(chop.class_name for chop in image.chops), *image.class_probabilities]:
        if class_name not in BY_NAME:
            return f"unknown class {class_name[:40]!r}"
    numbers = [
        image.probability,
        image.crystal_probability,
        *image.class_probabilities.values(),
        *(chop.probability for chop in image.chops),
    ]
    if any(number is not None and not math.isfinite(number) for number in numbers):
        return "a probability is not a number"
    scored = (image.class_name, image.score, image.probability)
    if image.status is Status.SCORED:
        if None in scored or image.class_name not in BY_NAME:
            return "scored without a known class, score and probability"
        if image.score != BY_NAME[image.class_name].score:
            return f"score {image.score} is not that of {image.class_name}"
        # Clear and rim share a score, and the one that scored the drop (P17) need not be the more probable one.
        every = [image.class_probabilities.get(row.name, 0.0) for row in CLASSES if row.score == image.score]
        if image.class_probabilities and not any(abs(value - (image.probability or 0.0)) <= 1e-5 for value in every):
            return f"its probability is not the largest of {image.class_name}"
        if image.class_name in CRYSTAL_CLASSES and (image.probability or 0.0) > (image.crystal_probability or 0.0) + 1e-6:
            return "its crystal probability is below that of its crystal class"
    elif scored != (None, None, None):
        return f"status {image.status} with a score"
    if image.status in (Status.SCORED, Status.UNSURE):
        if image.drop_box is None or image.crystal_probability is None:
            return f"status {image.status} without drop box or crystal probability"
        if problem := _outside(image.outline, image.drop_box):
            return problem
    elif image.drop_box is not None or image.outline or image.chops or image.class_probabilities:
        return f"status {image.status} with a drop"
    if (image.status is Status.FAILED) != (image.reason is not None):
        return "a reason belongs to status failed, and to no other"
    return None


def _outside(outline: Sequence[Point], box: PixelBox) -> str | None:
    """Why an outline is not that of a drop with this box, or None; an empty one is none at all."""
    if outline and len(outline) < 3:
        return f"an outline of {len(outline)} corners"
    for x, y in outline:
        if not (box[0] <= x <= box[2] and box[1] <= y <= box[3]):
            return f"its outline leaves its drop box at {x},{y}"
    return None
