"""Search patterns -> rows -> claimed images -> packed work units -> the grid (P23).

The ledger holds every step, and each is idempotent: killed at any point, the next run goes on where this one was. Several generators
may work at once: one reads a search, or packs a batch, while it has a lease on it in the ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from crystal_search.archives import ModelReference
from crystal_search.doctor.images import is_image_root
from crystal_search.errors import TryAgainLater
from crystal_search.grid import ARCHIVE_PRIORITY, REALTIME_PRIORITY
from crystal_search.ledger import images as queue
from crystal_search.ledger import leases, searches
from crystal_search.ledger.images import OpenUnit
from crystal_search.ledger.pauses import check_not_paused, pause_of
from crystal_search.ledger.schema import ImageState
from crystal_search.ledger.searches import Cursor
from crystal_search.leftovers import sweep_partials
from crystal_search.models import find_model, model_threshold
from crystal_search.settings import Search
from crystal_search.xtaltrak.images import Key, Page
from work_generator.files import name_problem
from work_generator.generator import Generator
from work_generator.late import claim_late, send_lost
from work_generator.packing import GROUP, Packer, refused_counts
from work_generator.slots import Slot, adopt, take_slot

_log = logging.getLogger("work-generator")

#: A search that has read to the end goes back this many INSPECTIDs: transactions of imagers may become visible out of order.
LOOK_BACK = 2_000
#: Archive work stops after this time, so that new real-time images do not wait for it.
ARCHIVE_TURN_SECONDS = 30.0
#: A search that another generator reads is looked at again after this time.
_BUSY_SECONDS = 0.2
#: Where many images are missing, the image root is looked at again after this time.
_PLATES_SECONDS = 60.0
_PRIORITY_NAMES = {REALTIME_PRIORITY: "realtime", ARCHIVE_PRIORITY: "archive"}


def prepare(generator: Generator, *, rescan: bool, retry: Iterable[ImageState]) -> None:
    """Before the first round: let every search read from the beginning again, give refused or failed images another chance,
    and remove what a killed generator left half.
    """
    with take_slot(generator.settings.paths.state):
        sweep_partials(generator.settings.work_units)
        scoring = _current_scoring(generator)
        with generator.ledger.begin() as connection:
            if rescan:
                searches.forget_cursors(connection, scoring)
            for state in retry:
                _log.info("%d %s images are tried again", queue.retry(connection, scoring, state), state)


def run_round(generator: Generator) -> bool:
    """One round: what an earlier run left, all real-time work, then archive work for half a minute.

    Returns whether there is more to do at once. Raises ``TryAgainLater`` when image root, disk, ledger or XtalTrak are away.
    """
    with generator.ledger.read() as connection:
        check_not_paused(connection, "work-generator")
    try:
        generator.files.check()
        with take_slot(generator.settings.paths.state) as slot:
            adopt(generator.ledger, slot)
            try:
                more = _round(generator, slot)
            except BaseException:
                with suppress(TryAgainLater):
                    _release(generator, slot)
                raise
            _release(generator, slot)
            return more
    except OSError as error:
        raise TryAgainLater(f"{error.filename}: can not be read or written ({error.strerror}); try again later") from error


def _release(generator: Generator, slot: Slot) -> None:
    with generator.ledger.begin() as connection:
        leases.release(connection, slot.owner)


def _round(generator: Generator, slot: Slot) -> bool:
    settings = generator.settings.generator
    scoring = _current_scoring(generator)
    if slot.number == 1:  # these look at everything: one generator is enough
        send_lost(generator)
        claim_late(generator, scoring)
    realtime = _Turn(generator, slot, scoring, REALTIME_PRIORITY, until=float("inf"), most=None)
    realtime.work()
    if realtime.more:
        return True
    until = generator.now() + ARCHIVE_TURN_SECONDS
    turn = _Turn(generator, slot, scoring, ARCHIVE_PRIORITY, until=until, most=settings.max_open_work_units)
    turn.work()
    if turn.full:
        _log.info("archive work waits: the grid has its %d work units", settings.max_open_work_units)
        generator.did["waits"] += 1
    return turn.cut_short


def _current_scoring(generator: Generator) -> int:
    """The scoring that the settings ask for: their model with their step, threshold, chops and overlays."""
    model = find_model(generator.settings.scoring.model)
    reference = ModelReference(name=model.name, sha256=model.sha256)
    asked = generator.settings.scoring
    if asked.threshold is None:  # said outright, so that the validator can hold a volunteer to it
        asked = asked.model_copy(update={"threshold": model_threshold(model)})
    with generator.ledger.begin() as connection:
        return queue.scoring_id(connection, reference, queue.scoring_json(asked))


@dataclass(slots=True)
class _Turn:
    """The part of a round that serves the searches of one priority.

    It ends when there is nothing left, at the time ``until``, when ``most`` work units are out (``full``), or when asked to stop. Of
    a real-time search it takes one page; ``more`` says that there is another one.
    """

    generator: Generator
    slot: Slot
    scoring: int
    priority: int
    until: float
    most: int | None
    cut_short: bool = False
    more: bool = False
    full: bool = False
    packer: Packer = field(init=False)

    def __post_init__(self) -> None:
        generator = self.generator
        self.packer = Packer(
            generator.ledger,
            generator.grid,
            generator.files,
            self.slot.owner,
            generator.settings.xtaltrak.um_per_px,
            self._may_go_on,
            self._check_plates,
        )

    def work(self) -> None:
        if self._is_paused():
            return
        with self.generator.ledger.begin() as connection:
            left = queue.take_unfinished(connection, self.priority, self.slot.owner)
        self._finish(left)
        if not self._pack_all():
            return
        for search in self.generator.settings.search:
            if _priority(search) == self.priority and not self._read(search):
                return

    def _may_go_on(self) -> bool:
        self.cut_short = self.generator.stop.is_set() or self.generator.now() >= self.until
        return not self.cut_short

    def _check_plates(self) -> None:
        """Raise ``TryAgainLater`` when the image root has none of XtalTrak's plates: the archive is not gone, it is elsewhere."""
        generator, root = self.generator, self.generator.settings.paths.images
        if generator.now() - generator.plates_seen.get(root, float("-inf")) < _PLATES_SECONDS:
            return
        if not is_image_root(generator.xtaltrak, root):
            raise TryAgainLater(f"image root {root}: has none of XtalTrak's plates; is the right folder mounted there? (paths.images)")
        generator.plates_seen[root] = generator.now()

    def _is_paused(self) -> bool:
        """Whether work of this priority shall rest, or the whole generator; said once."""
        with self.generator.ledger.read() as connection:
            pause = pause_of(connection, _PRIORITY_NAMES[self.priority]) or pause_of(connection, "work-generator")
        said = "" if pause is None else str(pause)
        if said and said != self.generator.said.get(self.priority):
            _log.info("%s", said)
        self.generator.said[self.priority] = said
        return pause is not None

    def _room(self) -> int:
        """How many work units may be started now, at most a group."""
        if self.most is None:
            return GROUP
        with self.generator.ledger.read() as connection:
            room = self.most - queue.open_units(connection)
        self.full = room <= 0
        return max(0, min(GROUP, room))

    def _pack_all(self) -> bool:
        """Pack and submit the claimed images of this priority; False when the turn is over before."""
        images_per_unit = self.generator.settings.generator.images_per_work_unit
        while self._may_go_on() and not self._is_paused():
            room = self._room()
            if room == 0:
                return False
            with self.generator.ledger.read() as connection:
                batch = queue.next_batch(connection, self.priority, self.slot.owner)
            if batch is None:
                return True
            self._finish(self.packer.start(batch, images_per_unit, room, self.most))
        return False

    def _finish(self, units: Sequence[OpenUnit]) -> None:
        if sent := self.packer.finish(units):
            self.generator.did["sent"] += sent

    def _read(self, search: Search) -> bool:
        """Claim and pack what the search finds, page by page; False when the turn is over before."""
        identity = searches.search_sha256(search, self.generator.settings.finalizer.protect)
        look_back = True
        while True:
            with self.generator.ledger.begin() as connection:
                cursor = searches.take_cursor(connection, self.scoring, identity, self.slot.owner)
            if cursor is None:  # another generator reads; when it has claimed its page there is something to pack, or to read
                self.cut_short = not self.generator.stop.wait(_BUSY_SECONDS)
                return self.priority == REALTIME_PRIORITY
            page = self._claim_page(search, identity, cursor, look_back)
            look_back = False
            if not self._pack_all():
                return False
            if not page.more:
                return True
            if self.priority == REALTIME_PRIORITY:
                self.more = True
                return True

    def _claim_page(self, search: Search, identity: str, cursor: Cursor, look_back: bool) -> Page:
        """Read the next page from where a look back was cut short, a little before the end, or the cursor on; claim its images.

        When nothing is left behind it, the cursor moves to the newest inspection: what does not match is not read again.
        """
        settings = self.generator.settings
        back = Key(cursor.key.inspection_id - LOOK_BACK, "") if cursor.at_end and look_back else cursor.key
        after = self.generator.positions.pop(identity, back)
        newest = Key(self.generator.xtaltrak.newest_inspection(), "")
        self._warn_gone_back(search, newest.inspection_id, cursor.key.inspection_id)
        page = self.generator.xtaltrak.find_images(search, after, settings.generator.page, settings.finalizer.protect)
        last = max(cursor.key, page.last or cursor.key, cursor.key if page.more else newest)
        if page.more and page.last is not None and page.last < cursor.key:
            self.generator.positions[identity] = page.last
        for problem in page.problems:
            _log.warning("%s", problem)
        judged = [(image, name_problem(image)) for image in page.images]
        with self.generator.ledger.begin() as connection:
            claimed = queue.claim(connection, self.scoring, search.name, self.priority, judged)
            at_end = not page.more or (last == cursor.key and cursor.at_end)
            searches.move_cursor(connection, self.scoring, identity, last, at_end, self.slot.owner)
        if claimed is not None:
            self.generator.did["claimed"] += 1
            _log.info("batch %s (%s): %d images claimed%s", claimed.batch, search.name, claimed.claimed, refused_counts(claimed.refused))
        return page

    def _warn_gone_back(self, search: Search, newest: int, read_to: int) -> None:
        """Say, once, that what comes next may bear numbers that the search takes for read."""
        if newest < read_to - LOOK_BACK and search.name not in self.generator.gone_back:
            self.generator.gone_back.add(search.name)
            ask = "was it restored from a backup? Then `crystal-search work-generator --once --rescan` reads from the beginning"
            _log.warning("search %r has read up to INSPECTID %d, XtalTrak ends at %d: %s", search.name, read_to, newest, ask)


def _priority(search: Search) -> int:
    return REALTIME_PRIORITY if search.priority == "realtime" else ARCHIVE_PRIORITY
