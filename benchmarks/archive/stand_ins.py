"""What stands in for files, pixels and clients, so that a run measures our bookkeeping and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crystal_search.archives import FORMAT_VERSION, ChopResult, ImageResult, Manifest, ModelReference, Results, Status, sha256_hex
from crystal_search.classes import BY_NAME, CRYSTAL_CLASSES
from crystal_search.grid import ARCHIVE_PRIORITY, GaveUp, Refused, Returned
from crystal_search.ledger.images import QueuedImage
from crystal_search.ledger.results import KnownWorkUnit
from work_generator.files import BareFile

SAID = (
    "stand-ins: no image files (16 bytes for each image's pixels), no ZIPs on the disk, a grid that keeps names only, "
    "answers with one chop made here instead of by clients; everything else is the product's own code"
)
_FILE = BareFile("jpg", b"no pixels at all")
_KINDS = ("clear", "precipitate_good", "unsure", "clear", "precipitate", "phase_separation", "clear", "no_drop", "crystals_harvestable")


class NoFiles:
    """Every image is there and has the same few bytes; nothing is written."""

    def check(self) -> None:
        pass

    def size(self, image: QueuedImage) -> int:
        return len(_FILE.content)

    def read(self, image: QueuedImage) -> BareFile:
        return _FILE

    def mark(self, image: QueuedImage) -> tuple[int, int] | None:
        return None

    def is_packed(self, work_unit: str) -> bool:
        return True

    def pack(self, manifest: Manifest, contents: Mapping[str, bytes]) -> str:
        return sha256_hex(manifest.name.encode())

    def path(self, work_unit: str) -> Path:
        return Path(f"{work_unit}.zip")


@dataclass
class NamesOnly:
    """A grid that keeps the names of what it was given until they are taken."""

    names: dict[str, int] = field(default_factory=dict)
    submitted: Callable[[int], None] = lambda priority: None

    def submit(self, work_unit: Path, priority: int = ARCHIVE_PRIORITY) -> bool:
        new = work_unit.stem not in self.names
        self.names[work_unit.stem] = priority
        if new:
            self.submitted(priority)
        return new

    def poll(self) -> Sequence[Returned | Refused | GaveUp]:
        return []

    def acknowledge(self, event: Returned | Refused | GaveUp) -> None:
        raise NotImplementedError

    def cancel(self, name: str) -> None:
        self.names.pop(name, None)

    def open_work_units(self) -> int:
        return len(self.names)


def answer(unit: KnownWorkUnit, model: ModelReference) -> Results:
    """What a client could have said; one image in nine is unsure, one has no drop."""
    return Results(
        format_version=FORMAT_VERSION,
        work_unit=unit.name,
        client_version="benchmark",
        model=model,
        runtime="none",
        provider="none",
        images=[_result(public_id, number) for public_id, number in unit.images.items()],
    )


def _result(public_id: str, number: int) -> ImageResult:
    kind = _KINDS[number % len(_KINDS)]
    if kind == "no_drop":
        return ImageResult(id=public_id, status=Status.NO_DROP)
    crystal = 0.9 if kind in CRYSTAL_CLASSES else 0.05
    chop = ChopResult(box=(310, 205, 566, 461), class_name="clear" if kind == "unsure" else kind, probability=0.875)
    if kind == "unsure":
        return ImageResult(id=public_id, status=Status.UNSURE, drop_box=(300, 200, 900, 800), crystal_probability=crystal, chops=[chop])
    return ImageResult(
        id=public_id,
        status=Status.SCORED,
        drop_box=(300, 200, 900, 800),
        class_name=kind,
        score=BY_NAME[kind].score,
        probability=0.875,
        crystal_probability=crystal,
        chops=[chop],
    )
