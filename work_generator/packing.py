"""Claimed images -> work units -> the grid, a group of work units at a time: one transaction of the ledger costs as much as packing one."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from crystal_search.archives import FORMAT_VERSION, Manifest, WorkImage, sha256_hex
from crystal_search.grid import Grid
from crystal_search.ledger import Ledger
from crystal_search.ledger import images as queue
from crystal_search.ledger.images import Batch, OpenUnit, QueuedImage
from crystal_search.ledger.leases import LEASE_SECONDS
from crystal_search.ledger.schema import WorkUnitState
from work_generator.files import MAX_IMAGE_BYTES, MISSING, BareFile, ImageStore, RefusedImageError, read_name

_log = logging.getLogger("work-generator")

#: Work units that are started, packed and noted together.
GROUP = 32


@dataclass(frozen=True, slots=True)
class _Packed:
    """What became of the images of a work unit; ``sha256`` is None when none of them can go out."""

    unit: OpenUnit
    sha256: str | None
    reasons: Mapping[int, str]
    too_many: Sequence[int]


@dataclass(slots=True)
class Packer:
    """Packs and submits what ``owner`` has leased, while ``may_go_on``.

    ``none_there`` is called when of all images that are looked at together no file is there, before one is refused: it raises
    ``TryAgainLater`` where that tells of the image root, not of the images.
    """

    ledger: Ledger
    grid: Grid
    store: ImageStore
    owner: str
    um_per_px: Mapping[str, float]
    may_go_on: Callable[[], bool]
    none_there: Callable[[], None] = lambda: None
    _renewed: float = field(default_factory=time.monotonic)

    def start(self, batch: Batch, images_per_unit: int, units: int, most: int | None = None) -> list[OpenUnit]:
        """Choose the next claimed images of a batch for so many work units; none when all that were looked at are refused.

        None too when somebody else has the batch, and no more than that with these ``most`` are on their way.
        """
        with self.ledger.read() as connection:
            waiting = queue.claimed_images(connection, batch, images_per_unit * units)
        reasons: dict[int, str] = {}
        groups = list(self._groups(waiting, images_per_unit, reasons))[:units]
        self._check_missing(waiting, reasons)
        with self.ledger.begin() as connection:
            if not queue.take_batch(connection, batch, self.owner):
                return []
            queue.refuse(connection, reasons)
            if most is not None:
                groups = groups[: queue.room_for_units(connection, most)]
            started = queue.start_units(connection, batch, groups) if groups else []
        self._renewed = time.monotonic()
        if reasons:
            _log.warning("batch %s%s", batch.name, refused_counts(reasons.values()))
        return started

    def _groups(self, waiting: Iterable[QueuedImage], most: int, reasons: dict[int, str]) -> Iterator[list[QueuedImage]]:
        """Images that fit into one work unit each; notes why others do not go out."""
        chosen: list[QueuedImage] = []
        total = 0
        for image in waiting:
            try:
                read_name(image.image_name, image.drop)
                size = self.store.size(image)
            except RefusedImageError as error:
                reasons[image.id] = str(error)
                continue
            if chosen and (len(chosen) == most or total + size > MAX_IMAGE_BYTES):
                yield chosen
                chosen, total = [], 0
            chosen.append(image)
            total += size
        if chosen:
            yield chosen

    def finish(self, units: Sequence[OpenUnit]) -> int:
        """Bring work units that have their images to the grid, from wherever they are; returns how many went out."""
        sent = 0
        for start in range(0, len(units), GROUP):
            if not self.may_go_on():
                break
            sent += self._submit(self._pack_all(self._as_on_disk(units[start : start + GROUP])))
        return sent

    def _as_on_disk(self, units: Iterable[OpenUnit]) -> list[OpenUnit]:
        """The work units, those whose ZIP is lost to be packed again."""
        found: list[OpenUnit] = []
        for unit in units:
            if unit.state is WorkUnitState.PACKED and not self.store.is_packed(unit.name):
                with self.ledger.begin() as connection:
                    if not queue.move_unit(connection, unit, WorkUnitState.PACKED, WorkUnitState.PACKING):
                        continue  # its result is here already, that is why
                unit = replace(unit, state=WorkUnitState.PACKING)
            found.append(unit)
        return found

    def _pack_all(self, units: Sequence[OpenUnit]) -> list[OpenUnit]:
        """Write the ZIPs of those that have none, from the files as they are now; the work units that may go out."""
        ready = [unit for unit in units if unit.state is WorkUnitState.PACKED]
        to_pack = [unit for unit in units if unit.state is WorkUnitState.PACKING]
        if not to_pack:
            return ready
        assigned: dict[int, Sequence[QueuedImage]] = {unit.id: unit.images for unit in to_pack if unit.images is not None}
        with self.ledger.read() as connection:
            assigned.update(queue.images_of_units(connection, [unit for unit in to_pack if unit.images is None]))
        packed: list[_Packed] = []
        for unit in to_pack:
            if not self.may_go_on():
                break
            self._renew(units)
            packed.append(self._pack(unit, assigned[unit.id]))
        with self.ledger.begin() as connection:
            ours = {batch.id for batch in _batches(units) if queue.take_batch(connection, batch, self.owner)}
            ready += _note_packed(connection, [one for one in packed if one.unit.batch.id in ours])
        self._renewed = time.monotonic()
        return ready

    def _pack(self, unit: OpenUnit, assigned: Sequence[QueuedImage]) -> _Packed:
        travelling: list[WorkImage] = []
        contents: dict[str, bytes] = {}
        reasons: dict[int, str] = {}
        too_many: list[int] = []
        total = 0
        for image in assigned:
            try:
                travels, file = self._traveller(image)
            except RefusedImageError as error:
                reasons[image.id] = str(error)
                continue
            if total + len(file.content) > MAX_IMAGE_BYTES:
                too_many.append(image.id)
                continue
            total += len(file.content)
            travelling.append(travels)
            contents[travels.file] = file.content
        self._check_missing(assigned, reasons)
        sha256 = self.store.pack(_manifest(unit, travelling), contents) if travelling else None
        _log.info("%s: %d images, %.1f MB%s", unit.name, len(travelling), total / 2**20, refused_counts(reasons.values()))
        return _Packed(unit, sha256, reasons, too_many)

    def _check_missing(self, looked_at: Sequence[QueuedImage], reasons: Mapping[int, str]) -> None:
        if looked_at and all(reasons.get(image.id) == MISSING for image in looked_at):
            self.none_there()

    def _traveller(self, image: QueuedImage) -> tuple[WorkImage, BareFile]:
        """An image as it stands in the manifest, and its bytes. Raises ``RefusedImageError``."""
        name = read_name(image.image_name, image.drop)
        file = self.store.read(image)
        assert image.public_id is not None
        travels = WorkImage(
            id=image.public_id,
            file=f"{image.public_id}.{file.extension}",
            sha256=sha256_hex(file.content),
            um_per_px=self.um_per_px.get(name.profile),
        )
        return travels, file

    def _renew(self, units: Iterable[OpenUnit]) -> None:
        """Keep what we have when files are slow to read."""
        if time.monotonic() - self._renewed > LEASE_SECONDS / 4:
            with self.ledger.begin() as connection:
                for batch in _batches(units):
                    queue.take_batch(connection, batch, self.owner)
            self._renewed = time.monotonic()

    def _submit(self, ready: Iterable[OpenUnit]) -> int:
        sent: list[OpenUnit] = []
        try:
            for unit in ready:
                if sent and not self.may_go_on():
                    break
                self.grid.submit(self.store.path(unit.name), unit.batch.priority)
                sent.append(unit)
        finally:
            with self.ledger.begin() as connection:  # also of those before one that could not be submitted
                queue.move_units(connection, {unit.id: None for unit in sent}, WorkUnitState.PACKED, WorkUnitState.SUBMITTED)
        return len(sent)


def _batches(units: Iterable[OpenUnit]) -> list[Batch]:
    return list({unit.batch.id: unit.batch for unit in units}.values())


def _note_packed(connection: Connection, packed: Sequence[_Packed]) -> list[OpenUnit]:
    """Note what became of the images of work units; those that may go out."""
    for one in packed:
        queue.refuse(connection, one.reasons)
        queue.put_back(connection, one.too_many)
        if one.sha256 is None:
            reason = "none of its images can go out"
            queue.move_unit(connection, one.unit, WorkUnitState.PACKING, WorkUnitState.CANCELLED, reason=reason)
    with_images = {one.unit.id: one.sha256 for one in packed if one.sha256 is not None}
    moved = queue.move_units(connection, with_images, WorkUnitState.PACKING, WorkUnitState.PACKED)
    return [one.unit for one in packed if one.unit.id in moved]


def _manifest(unit: OpenUnit, travelling: list[WorkImage]) -> Manifest:
    """What the volunteer is asked; images in the order of their random ids, so that it tells nothing about the plate."""
    travelling = sorted(travelling, key=lambda image: image.id)
    return Manifest(format_version=FORMAT_VERSION, name=unit.name, model=unit.batch.model, images=travelling, **unit.batch.asked)


def refused_counts(reasons: Iterable[str]) -> str:
    """``", 3 refused (2 missing, 1 empty)"``, or nothing."""
    kinds = Counter(reason.partition(":")[0] for reason in reasons)
    return f", {kinds.total()} refused ({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))})" if kinds else ""
