"""Search patterns -> rows -> claimed images -> packed work units -> the grid (P23).

The ledger holds every step, and each is idempotent: killed at any point, the next run goes on where this one was. One generator
works at a time; a second one waits. The claims would not need that, the packing does.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from crystal_search.archives import FORMAT_VERSION, Manifest, ModelReference, WorkImage, sha256_hex, write_work_unit
from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.grid import ARCHIVE_PRIORITY, REALTIME_PRIORITY, Grid
from crystal_search.ledger import Ledger
from crystal_search.ledger import images as queue
from crystal_search.ledger.images import Batch, OpenUnit, QueuedImage
from crystal_search.ledger.schema import ImageState, WorkUnitState
from crystal_search.leftovers import sweep_partials
from crystal_search.models import find_model, model_threshold
from crystal_search.plate import InspectionImage
from crystal_search.service import Stop
from crystal_search.settings import Search, Settings
from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.images import START, Key, Page
from work_generator.files import (
    MAX_IMAGE_BYTES,
    BareFile,
    RefusedImageError,
    check_image_root,
    file_mark,
    file_size,
    image_path,
    read_bare,
    read_name,
)

_log = logging.getLogger("work-generator")

#: A search goes back this many INSPECTIDs each round: transactions of imagers may become visible out of order.
LOOK_BACK = 2_000
#: Archive work stops after this time, so that new real-time images do not wait for it.
ARCHIVE_TURN_SECONDS = 30.0
_LOCK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Generator:
    """What a round works with; ``now`` is in seconds.

    From round to round remain ``positions``, the keys, by search, at which the last round was cut short, ``marks`` of refused
    images' files as they were when last read, and ``did``, which counts what was done.
    """

    settings: Settings
    ledger: Ledger
    xtaltrak: XtalTrak
    grid: Grid
    stop: Stop = field(default_factory=Stop)
    positions: dict[str, Key] = field(default_factory=dict)
    now: Callable[[], float] = time.monotonic
    marks: dict[int, tuple[int, int]] = field(default_factory=dict)
    did: Counter[str] = field(default_factory=Counter)


def prepare(generator: Generator, *, rescan: bool, retry: Iterable[ImageState]) -> None:
    """Before the first round: let every search read from the beginning again, give refused or failed images another chance,
    and remove what a killed generator left half.
    """
    with _only_one(generator) as ours:
        if not ours:
            return
        sweep_partials(generator.settings.work_units)
        scoring = _current_scoring(generator)
        with generator.ledger.begin() as connection:
            if rescan:
                queue.forget_cursors(connection, scoring)
            for state in retry:
                _log.info("%d %s images are tried again", queue.retry(connection, scoring, state), state)


def run_round(generator: Generator) -> bool:
    """One round: what an earlier run left, all real-time work, then archive work for half a minute.

    Returns whether there is more to do at once. Raises ``TryAgainLater`` when image root, disk, ledger or XtalTrak are away.
    """
    try:
        check_image_root(generator.settings.paths.images)
        with _only_one(generator) as ours:
            return ours and _round(generator)
    except OSError as error:
        raise TryAgainLater(f"{error.filename}: can not be read or written ({error.strerror}); try again later") from error


def _round(generator: Generator) -> bool:
    settings = generator.settings.generator
    scoring = _current_scoring(generator)
    with generator.ledger.read() as connection:
        left = queue.unfinished_units(connection)
    for unit in left:
        _finish(generator, unit)
    _send_lost(generator)
    _claim_late(generator, scoring)
    realtime = _Turn(generator, scoring, REALTIME_PRIORITY, until=float("inf"), room=float("inf"))
    realtime.work()
    if realtime.more:
        return True
    room = settings.max_open_work_units - generator.grid.open_work_units()
    turn = _Turn(generator, scoring, ARCHIVE_PRIORITY, until=generator.now() + ARCHIVE_TURN_SECONDS, room=room)
    turn.work()
    if turn.room <= 0:
        _log.info("archive work waits: the grid has its %d work units", settings.max_open_work_units)
        generator.did["waits"] += 1
    return turn.cut_short


def _send_lost(generator: Generator) -> None:
    """Give the grid again what it should have; a spool may be lost with its disk.

    The packed ZIP of a work unit that has ended goes before the grid forgets it, so that none runs twice.
    """
    with generator.ledger.read() as connection:
        out = queue.submitted_units(connection)
    lost = 0
    for name, priority in out:
        path = generator.settings.work_units / f"{name}.zip"
        with suppress(FileNotFoundError):  # it has ended meanwhile
            lost += path.is_file() and generator.grid.submit(path, priority)
    if lost:
        _log.warning("%d work units that the grid had lost are sent again", lost)
        generator.did["sent"] += lost


def _claim_late(generator: Generator, scoring: int) -> None:
    """Claim refused images of new inspections whose files are there by now. A file that did not change is not read again."""
    settings = generator.settings
    with generator.ledger.read() as connection:
        missed = queue.late_images(connection, scoring, settings.generator.retry_hours, settings.generator.page)
    come: list[int] = []
    for image in missed:
        if generator.stop.is_set():
            break
        path = image_path(settings.paths.images, image.drop, image.inspection_number, image.image_name)
        mark = file_mark(path, settings.paths.images)
        if mark is None or generator.marks.get(image.id) == mark:
            continue
        generator.marks[image.id] = mark
        with suppress(RefusedImageError):
            read_bare(path, settings.paths.images)
            come.append(image.id)
    if come:
        with generator.ledger.begin() as connection:
            count = queue.claim_late(connection, come)
        _log.info("%d images have come late and go out now", count)
        generator.did["claimed"] += count


def _current_scoring(generator: Generator) -> int:
    """The scoring that the settings ask for: their model with their step, threshold, chops and overlays."""
    model = find_model(generator.settings.scoring.model)
    reference = ModelReference(name=model.name, sha256=model.sha256)
    asked = generator.settings.scoring
    if asked.threshold is None:  # said outright, so that the validator can hold a volunteer to it
        asked = asked.model_copy(update={"threshold": model_threshold(model)})
    with generator.ledger.begin() as connection:
        return queue.scoring_id(connection, reference, queue.scoring_json(asked))


@contextmanager
def _only_one(generator: Generator) -> Iterator[bool]:
    """Hold the lock of the one generator that works, or wait for it; False when asked to stop before. Dies with the process."""
    lock = generator.settings.paths.state / "work-generator.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SettingsError(f"paths.state: {lock.parent} is not a folder") from error
    except OSError as error:
        raise TryAgainLater(f"{lock.parent}: can not be made ({error.strerror}); try again later") from error
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if generator.stop.wait(_LOCK_SECONDS):
                    yield False
                    return
            else:
                yield True
                return


@dataclass(slots=True)
class _Turn:
    """The part of a round that serves the searches of one priority.

    It ends when there is nothing left, at the time ``until``, after ``room`` work units, or when asked to stop. Of a real-time
    search it takes one page; ``more`` says that there is another one.
    """

    generator: Generator
    scoring: int
    priority: int
    until: float
    room: float
    cut_short: bool = False
    more: bool = False

    def work(self) -> None:
        if not self._pack_all():
            return
        for search in self.generator.settings.search:
            if _priority(search) != self.priority:
                continue
            identity = queue.search_sha256(search, self.generator.settings.finalizer.protect)
            for page, last in self._pages(search, identity):
                self._claim(search, identity, page, last)
                if not self._pack_all():
                    self.generator.positions[identity] = last
                    return
                if self.priority == REALTIME_PRIORITY and page.more:
                    self.generator.positions[identity] = last
                    self.more = True
                    break

    def _may_go_on(self) -> bool:
        if self.room <= 0:
            return False
        self.cut_short = self.generator.stop.is_set() or self.generator.now() >= self.until
        return not self.cut_short

    def _pack_all(self) -> bool:
        """Pack and submit the claimed images of this priority; False when the turn is over before."""
        while self._may_go_on():
            with self.generator.ledger.read() as connection:
                batch = queue.next_batch(connection, self.priority)
            if batch is None:
                return True
            unit = _start_unit(self.generator, batch)
            if unit is not None and _finish(self.generator, unit):
                self.room -= 1
        return False

    def _pages(self, search: Search, identity: str) -> Iterator[tuple[Page, Key]]:
        """Pages of the search, each with its last key, from where it was cut short or from a little before its cursor on."""
        settings = self.generator.settings
        after = self.generator.positions.pop(identity, None)
        if after is None:
            with self.generator.ledger.read() as connection:
                cursor = queue.read_cursor(connection, self.scoring, identity)
            after = START if cursor is None else Key(cursor.inspection_id - LOOK_BACK, "")
        while True:
            page = self.generator.xtaltrak.find_images(search, after, settings.generator.page, settings.finalizer.protect)
            if page.last is None:
                return
            yield page, page.last
            if not page.more:
                return
            after = page.last

    def _claim(self, search: Search, identity: str, page: Page, last: Key) -> None:
        for problem in page.problems:
            _log.warning("%s", problem)
        judged = [(image, _name_problem(image)) for image in page.images]
        with self.generator.ledger.begin() as connection:
            claimed = queue.claim(connection, self.scoring, search.name, self.priority, judged)
            queue.move_cursor(connection, self.scoring, identity, last)
        if claimed is not None:
            self.generator.did["claimed"] += 1
            _log.info("batch %s (%s): %d images claimed%s", claimed.batch, search.name, claimed.claimed, _refused_counts(claimed.refused))


def _priority(search: Search) -> int:
    return REALTIME_PRIORITY if search.priority == "realtime" else ARCHIVE_PRIORITY


def _name_problem(image: InspectionImage) -> str | None:
    try:
        read_name(image.image_name, image.drop)
    except RefusedImageError as error:
        return str(error)
    return None


def _refused_counts(reasons: Iterable[str]) -> str:
    """``", 3 refused (2 missing, 1 empty)"``, or nothing."""
    kinds = Counter(reason.partition(":")[0] for reason in reasons)
    return f", {kinds.total()} refused ({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))})" if kinds else ""


def _start_unit(generator: Generator, batch: Batch) -> OpenUnit | None:
    """Choose the next claimed images of a batch, as many as one work unit holds; None when all that were looked at are refused."""
    root = generator.settings.paths.images
    with generator.ledger.read() as connection:
        waiting = queue.claimed_images(connection, batch, generator.settings.generator.images_per_work_unit)
    chosen: list[QueuedImage] = []
    reasons: dict[int, str] = {}
    total = 0
    for image in waiting:
        try:
            read_name(image.image_name, image.drop)
            size = file_size(image_path(root, image.drop, image.inspection_number, image.image_name), root)
        except RefusedImageError as error:
            reasons[image.id] = str(error)
            continue
        if total + size > MAX_IMAGE_BYTES:
            break
        chosen.append(image)
        total += size
    with generator.ledger.begin() as connection:
        queue.refuse(connection, reasons)
        unit = queue.start_unit(connection, batch, chosen) if chosen else None
    if reasons:
        _log.warning("batch %s%s", batch.name, _refused_counts(reasons.values()))
    return unit


def _finish(generator: Generator, unit: OpenUnit) -> bool:
    """Bring a work unit that has its images to the grid, from wherever it is; whether it went out."""
    path = generator.settings.work_units / f"{unit.name}.zip"
    if unit.state is WorkUnitState.PACKED and not path.is_file():
        with generator.ledger.begin() as connection:
            if not queue.move_unit(connection, unit, WorkUnitState.PACKED, WorkUnitState.PACKING):
                return False  # its result is here already, that is why
        unit = replace(unit, state=WorkUnitState.PACKING)
    if unit.state is WorkUnitState.PACKING and not _pack(generator, unit, path):
        return False
    generator.grid.submit(path, unit.batch.priority)
    with generator.ledger.begin() as connection:
        queue.move_unit(connection, unit, WorkUnitState.PACKED, WorkUnitState.SUBMITTED)
    generator.did["sent"] += 1
    return True


def _pack(generator: Generator, unit: OpenUnit, path: Path) -> bool:
    """Write the ZIP of a work unit from the files as they are now; False, and the unit cancelled, when none can go out."""
    with generator.ledger.read() as connection:
        assigned = queue.unit_images(connection, unit)
    travelling: list[WorkImage] = []
    contents: dict[str, bytes] = {}
    reasons: dict[int, str] = {}
    too_many: list[int] = []
    total = 0
    for image in assigned:
        try:
            travels, file = _traveller(generator.settings, image)
        except RefusedImageError as error:
            reasons[image.id] = str(error)
            continue
        if total + len(file.content) > MAX_IMAGE_BYTES:
            too_many.append(image.id)
            continue
        total += len(file.content)
        travelling.append(travels)
        contents[travels.file] = file.content
    sha256 = None
    if travelling:
        write_work_unit(path, _manifest(unit, travelling), contents)
        sha256 = sha256_hex(path.read_bytes())
    with generator.ledger.begin() as connection:
        queue.refuse(connection, reasons)
        queue.put_back(connection, too_many)
        if travelling:
            queue.move_unit(connection, unit, WorkUnitState.PACKING, WorkUnitState.PACKED, sha256=sha256)
        else:
            queue.move_unit(connection, unit, WorkUnitState.PACKING, WorkUnitState.CANCELLED, reason="none of its images can go out")
    _log.info("%s: %d images, %.1f MB%s", unit.name, len(travelling), total / 2**20, _refused_counts(reasons.values()))
    return bool(travelling)


def _traveller(settings: Settings, image: QueuedImage) -> tuple[WorkImage, BareFile]:
    """An image as it stands in the manifest, and its bytes. Raises ``RefusedImageError``."""
    name = read_name(image.image_name, image.drop)
    root = settings.paths.images
    file = read_bare(image_path(root, image.drop, image.inspection_number, image.image_name), root)
    assert image.public_id is not None
    travels = WorkImage(
        id=image.public_id,
        file=f"{image.public_id}.{file.extension}",
        sha256=sha256_hex(file.content),
        um_per_px=settings.xtaltrak.um_per_px.get(name.profile),
    )
    return travels, file


def _manifest(unit: OpenUnit, travelling: list[WorkImage]) -> Manifest:
    """What the volunteer is asked; images in the order of their random ids, so that it tells nothing about the plate."""
    travelling = sorted(travelling, key=lambda image: image.id)
    return Manifest(format_version=FORMAT_VERSION, name=unit.name, model=unit.batch.model, images=travelling, **unit.batch.asked)
