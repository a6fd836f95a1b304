"""``crystal-search score PATH... --out DIR``: folders of images in, a table and pictures out; no grid, no database."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial as partial_call
from pathlib import Path
from typing import Self, TextIO, TypeVar

import click
import msgspec
from tqdm import tqdm

from client_app.errors import ImageError
from client_app.image import Wish, score_image
from client_app.labels import FOLDER, Form, Labels, check_names
from client_app.model import Model, load_model
from client_app.model_folders import MODEL_VARIABLE, default_model_folder
from client_app.parallel import in_parallel
from client_app.providers import Provider, ProviderWish, accelerated
from client_app.scales import Scales, read_scales
from client_app.scored_file import SCORED_JSON, Scored, Stopwatch
from crystal_search import __version__
from crystal_search.archives import MAX_CHOPS, ImageResult, Status
from crystal_search.atomic import atomic_file, write_atomically
from crystal_search.classes import BY_NAME, Group
from crystal_search.errors import TryAgainLater, UsageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
CSV_NAME = "scores.csv"
#: Rows of a run that is not finished, one JSON document a line.
PARTIAL_NAME = "scores.partial"
OVERLAYS_NAME = "overlays"
#: A drop image has 0.2 to 15 MB; this is the largest uncompressed one that ``decode_image`` would take.
MAX_FILE_BYTES = 512 * 1024 * 1024

_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of ``scores.csv``: its fields are the columns. Empty where there is nothing to say."""

    image: str
    status: str
    class_: str
    score: str
    group: str
    probability: str
    crystal_probability: str
    drop_x0: str
    drop_y0: str
    drop_x1: str
    drop_y1: str
    model: str

    @classmethod
    def of(cls, image: str, result: ImageResult, model: Model) -> Self:
        x0, y0, x1, y1 = map(str, result.drop_box) if result.drop_box else ("", "", "", "")
        return cls(
            image=image,
            status=str(result.status),
            class_=result.class_name or "",
            score=result.score or "",
            group=str(BY_NAME[result.class_name].group) if result.class_name else "",
            probability=_decimal(result.probability),
            crystal_probability=_decimal(result.crystal_probability),
            drop_x0=x0,
            drop_y0=y0,
            drop_x1=x1,
            drop_y1=y1,
            model=f"{model.reference.name} {model.reference.sha256[:12]}",
        )


COLUMNS: tuple[str, ...] = tuple(field.name.rstrip("_") for field in fields(Row))


def _decimal(number: float | None) -> str:
    return "" if number is None else f"{number:.6f}"


# ---- which images -----------------------------------------------------------------------------------------------


def find_images(paths: Sequence[Path]) -> dict[str, Path]:
    """Every image under ``paths`` by the name it gets in the table, in the order of the names.

    Folders are searched recursively, hidden files, overlays and labels of earlier runs left aside; a file is taken whatever its name.
    The name is the path relative to the given folder; where two images would share it, folders above are added. Raises ``UsageError`` for a
    path that does not exist, and where there is no image at all.
    """
    depths: dict[Path, int] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        if path.is_dir():
            top = path.resolve()
            for file in _images_below(top):
                depths.setdefault(file, len(file.relative_to(top).parts))
        else:
            depths.setdefault(path.resolve(), 1)
    if not depths:
        searched = ", ".join(map(str, paths))
        raise UsageError(f"no image in {searched}: looked for files ending in {', '.join(sorted(SUFFIXES))}")
    return dict(sorted(_unique_names(depths).items()))


def _images_below(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        here = Path(folder)
        ours = {OVERLAYS_NAME, FOLDER} if {CSV_NAME, PARTIAL_NAME} & set(files) else set()  # pictures that we made are not to be scored
        folders[:] = [name for name in folders if not name.startswith(".") and name not in ours]
        # a Mac leaves hidden shadows of real files on a shared disk
        yield from (here / name for name in files if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES)


def _unique_names(depths: dict[Path, int]) -> dict[str, Path]:
    """The last ``depth`` parts of each absolute path, more where that is not unique."""

    def name(path: Path) -> str:
        parts = path.relative_to(path.anchor).parts
        return "/".join(parts[-depths[path] :])

    while True:
        names = Counter(map(name, depths))
        shared = [path for path in depths if names[name(path)] > 1]
        if not shared:
            return {name(path): path for path in depths}
        for path in shared:
            depths[path] += 1


# ---- a run that can be killed -----------------------------------------------------------------------------------


class _Partial:
    """The rows so far. Kept are those of unchanged files under the same model and settings."""

    def __init__(self, path: Path, key: str, scales: Scales) -> None:
        self._path = path
        self._key = key
        self._scales = scales
        self._lock = threading.Lock()
        self._file: TextIO | None = None

    def load(self, files: dict[str, Path]) -> dict[str, Row]:
        """Rows of an earlier run that still hold. A line that a kill cut short, or any other damage, is passed over."""
        rows: dict[str, Row] = {}
        try:
            lines = self._path.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return rows
        for line in lines:
            try:
                key, scale, stamp, row = msgspec.json.decode(line, type=tuple[str, float | None, list[int], Row])
            except msgspec.DecodeError:
                continue
            same = key == self._key and scale == self._scales.of(row.image)
            if same and row.image in files and stamp == _stamp(files[row.image]):
                rows[row.image] = row
        return rows

    @contextmanager
    def writing(self, rows: Iterable[tuple[Row, Path]]) -> Iterator[None]:
        """Start the file anew with the rows that hold; ``add`` works inside of this block."""
        write_atomically(self._path, "".join(self._line(row, file) for row, file in rows).encode("ascii"))
        with self._path.open("a", encoding="ascii") as self._file:
            yield

    def add(self, row: Row, file: Path) -> None:
        assert self._file is not None, "add belongs inside of writing"
        with self._lock:
            self._file.write(self._line(row, file))
            self._file.flush()

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def _line(self, row: Row, file: Path) -> str:
        return json.dumps([self._key, self._scales.of(row.image), _stamp(file), asdict(row)]) + "\n"


def _stamp(file: Path) -> list[int]:
    """What changes when a file changes."""
    try:
        status = file.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


# ---- the command ------------------------------------------------------------------------------------------------


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ImageError(f"the file is larger than {MAX_FILE_BYTES // 2**20} MB")
        return file.read_bytes()
    except OSError as error:
        raise ImageError(f"the file can not be read ({error.strerror})") from error


def _settings(model: Model, wish: Wish) -> str:
    """All that a row depends on besides its image and scale."""
    return json.dumps([model.reference.sha256, wish.step, wish.threshold, wish.chops, sorted(wish.overlays), __version__])


def score_files(
    files: dict[str, Path], out: Path, model: Model, wish: Wish, scales: Scales, workers: int, labels: Labels | None = None
) -> list[Row]:
    """Score ``files`` (name in the table -> file) into ``out`` and return the rows in the order of ``files``.

    ``labels`` gets what was seen in each image. Raises ``TryAgainLater`` where ``out`` can not be written; what is done by then is kept for
    the next call.
    """
    partial = _Partial(out / PARTIAL_NAME, _settings(model, wish), scales)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if labels:
            labels.begin()
        # What failed has no picture and is tried again: it may have been a network drive.
        watch = Stopwatch()
        kept = {name: row for name, row in partial.load(files).items() if _overlay_path(out, name).is_file()}
        rows = {name: row for name, row in kept.items() if not labels or labels.has(name)}
        with partial.writing((row, files[name]) for name, row in rows.items()):

            def score_one(name: str) -> Row:
                look = partial_call(labels.add, name) if labels else None
                result, picture = score_image(model, wish, "0" * 32, lambda: _read(files[name]), scales.of(name), look)
                if picture is not None:
                    write_atomically(_overlay_path(out, name), picture)
                row = Row.of(name, result, model)
                partial.add(row, files[name])
                if result.reason:
                    tqdm.write(f"{name}: {result.reason}", file=sys.stderr)
                return row

            left = [name for name in files if name not in rows]
            with closing(in_parallel(score_one, left, workers)) as results:
                for row in tqdm(results, total=len(files), initial=len(rows), unit="image", disable=None):
                    rows[row.image] = row
        ordered = [rows[name] for name in files]
        seconds, processor = watch.read()
        scored = Scored(
            model=model.reference.name,
            model_sha256=model.reference.sha256,
            threshold=wish.threshold,
            step=wish.step,
            images=len(left),
            seconds=seconds,
            processor_seconds=processor,
        )
        write_atomically(out / SCORED_JSON, msgspec.json.format(msgspec.json.encode(scored), indent=1))
        with atomic_file(out / CSV_NAME) as file:
            file.write(_csv(ordered))
        partial.remove()
    except OSError as error:
        raise TryAgainLater(f"can not write to {out} ({error.strerror}): start again when that is solved, nothing is lost") from error
    return ordered


def _overlay_path(out: Path, name: str) -> Path:
    return out / OVERLAYS_NAME / f"{name}.jpg"


def _csv(rows: Iterable[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(asdict(row).values() for row in rows)
    return text.getvalue().encode("utf-8", errors="surrogateescape")  # a file's name may be any bytes


def summary(rows: Sequence[Row], out: Path) -> str:
    """What came out, for people: how many images of each status and group, how many failed, and where the table lies."""
    statuses = Counter(row.status for row in rows)
    groups = Counter(row.group for row in rows)
    scored = ", ".join(f"{groups[group]} {group}" for group in Group if groups[group])
    parts = [f"{statuses[Status.SCORED]} scored" + (f" ({scored})" if scored else "")]
    parts += [f"{statuses[status]} {status.replace('_', ' ')}" for status in (Status.UNSURE, Status.NO_DROP, Status.FAILED)]
    return f"{len(rows)} images: {', '.join(parts)}\n{out / CSV_NAME}"


def _processors() -> int:
    """How many processors this program may use, which in a container or batch job are not all."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the program like Ctrl-C does: what is done is kept."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse_foreign(path: Path, files: dict[str, Path]) -> None:
    """Raise ``UsageError`` when ``path`` holds scores of images that this call would drop; the same images are simply scored again."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            foreign = [row["image"] for row in csv.DictReader(file) if row.get("image") and row["image"] not in files]
    except (OSError, UnicodeDecodeError, csv.Error):
        return  # no table that could be lost
    if foreign:
        raise UsageError(f"{path} holds scores of other images ({len(foreign)}, such as {foreign[0]}): name another --out, or move it away")


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for scores.csv and overlays/.")
@click.option("--model", type=click.Path(path_type=Path), envvar=MODEL_VARIABLE, help="Model folder. [default: the one that came along]")
@click.option("--step", type=click.IntRange(min=1), help="Px from window to window, one of the model's steps. [default: the model's]")
@click.option("--threshold", type=click.FloatRange(0.0, 1.0), help="Probability that a class must exceed. [default: the model's]")
@click.option("--chops", type=click.IntRange(0, MAX_CHOPS), default=5, show_default=True, help="Best chops to draw.")
@click.option("--workers", type=click.IntRange(1, 256), help="Images at once. [default: one a processor]")
@click.option("--um-per-px", type=click.FloatRange(0.0, 1000.0, min_open=True), help="Scale of the images, where it is known.")
@click.option(
    "--scales",
    "scales_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the columns image (as in scores.csv) and um_per_px; --um-per-px is for the images without.",
)
@click.option(
    "--provider",
    type=click.Choice(list(map(str, Provider))),
    default=str(Provider.AUTO),
    help="What computes. [default: auto, the GPU that --device names, or else the CPU]",
)
@click.option("--device", type=click.IntRange(0, 999), help="Number of the GPU. [default: no GPU with auto, otherwise the first]")
@click.option(
    "--export",
    "exports",
    type=click.Choice([str(form) for form in Form]),
    multiple=True,
    help="Also boxes of crystal regions and best chops for object detectors, in --out/labels; may stand more than once.",
)
def score(
    paths: tuple[Path, ...],
    out: Path,
    model: Path | None,
    step: int | None,
    threshold: float | None,
    chops: int,
    workers: int | None,
    um_per_px: float | None,
    scales_file: Path | None,
    provider: str,
    device: int | None,
    exports: tuple[str, ...],
) -> None:
    """Score images: PATHs are folders, searched for images at any depth, and files.

    DIR/scores.csv gets one row an image (ranked by crystal_probability it is a list of where to look first), and
    DIR/overlays a picture of each drop with its best chops. A run that was stopped continues when it is started again; one that had
    ended scores all images anew.
    """
    files = find_images(paths)
    forms = [Form(export) for export in exports]
    check_names(files, forms)
    _refuse_foreign(out / CSV_NAME, files)
    loaded = accelerated(load_model(model or default_model_folder()), ProviderWish(Provider(provider), device), threads=1)
    scales = read_scales(scales_file, files, um_per_px) if scales_file else Scales(um_per_px)
    if scales_file:
        click.echo(f"{scales_file}: scales for {len(scales.known)} of {len(files)} images", err=True)
    wish = Wish(loaded.step(step), loaded.spec.threshold if threshold is None else threshold, chops, frozenset({"all"}))
    labels = Labels(out, forms, _settings(loaded, wish)) if forms else None
    if labels:
        labels.refuse_others()
    if (out / CSV_NAME).exists() and not (out / PARTIAL_NAME).exists():
        click.echo(f"{out / CSV_NAME} of an earlier run is replaced", err=True)
    with _stopped_by_sigterm():
        rows = score_files(files, out, loaded, wish, scales, workers or _processors(), labels)
    if labels:
        click.echo(f"{labels.finish(files)} of {len(files)} images with labels, made by a program: {out / FOLDER}")
    click.echo(summary(rows, out))
