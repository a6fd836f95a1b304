"""What of a batch goes into XtalTrak's tables of our own and beside the images: every ARTscore, a withheld one too (rule 7, P27).

All of it is keyed by the batch, written where it lacks and deleted as a whole: the same again does nothing, and ``undo`` is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from crystal_search.archives import read_overlay
from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.ledger import Ledger
from crystal_search.ledger.artscores import KeptScore, kept_scores
from crystal_search.ledger.batches import Batch
from crystal_search.settings import Settings
from crystal_search.xtaltrak.artscores import KEY_COLUMNS, ArtscoreTable, Kind
from finalizer.picture_files import add_picture, has_picture, picture_path, remove_picture, with_mark

_ROWS = 500  # in one transaction
_PICTURES = 16  # each may have 4 MB
_NAMES: dict[Kind | str, str] = {"artscore": "ARTscores", "region": "regions", "picture": "pictures", "file": "picture files"}


def counts_line(counts: Counter[str]) -> str:
    """``"3 ARTscores, 15 regions"``, or ``"nothing"``."""
    return ", ".join(f"{counts[kind]} {name}" for kind, name in _NAMES.items() if counts[kind]) or "nothing"


class OwnCopies:
    """Writes what is ours alone, as far as the settings ask for it, and removes all of it. Every call raises ``TryAgainLater``."""

    def __init__(self, settings: Settings, ledger: Ledger, table: ArtscoreTable) -> None:
        asked = settings.finalizer
        wanted: dict[Kind, bool] = {"artscore": asked.own_table, "region": asked.regions, "picture": asked.pictures == "database"}
        self.kinds: tuple[Kind, ...] = tuple(kind for kind, on in wanted.items() if on)
        self.files = asked.pictures == "files"
        self._own_folder = asked.picture_folder is not None
        self._root = asked.picture_folder or settings.paths.images
        self._images = settings.paths.images
        self._results = settings.results
        self._codes = settings.xtaltrak.score_codes
        self._ledger = ledger
        self._table = table
        if self.kinds:
            table.make()

    def write(self, batch: Batch) -> Counter[str]:
        """Write what lacks; returns how much of each kind."""
        kept, written = self._kept(batch), Counter[str]()
        for kind in self.kinds:
            lacking = self._lacking(kind, batch, kept)
            while some := list(islice(lacking, _PICTURES if kind == "picture" else _ROWS)):
                self._table.insert(kind, batch.name, some)
                written[kind] += len(some)
        if self.files:
            self._check_root()
            for one, path in self._paths(batch, kept):
                if not path.exists() and (picture := self._picture(batch, one)) is not None:
                    written["file"] += add_picture(path, with_mark(picture, batch.name), self._own_folder)
        return written

    def lacking(self, batch: Batch) -> Counter[str]:
        """How much of each kind ``write`` would write; nothing is."""
        kept, counts = self._kept(batch), Counter[str]()
        for kind in self.kinds:
            counts[kind] = sum(1 for _ in self._lacking(kind, batch, kept))
        if self.files:
            counts["file"] = sum(not path.exists() and self._picture(batch, one) is not None for one, path in self._paths(batch, kept))
        return counts

    def changed(self, batch: Batch) -> Counter[str]:
        """How many rows of each table, and files under our names, are there and not as we would write them."""
        kept, counts = self._kept(batch), Counter[str]()
        for kind in self.kinds:
            if kind != "picture":
                wanted = {row[: KEY_COLUMNS[kind]]: row for one in kept for row in _rows(kind, one)}
                found = self._table.rows(kind, batch.name)
                counts[kind] = sum(wanted.get(row[: KEY_COLUMNS[kind]]) != row for row in found)
        if self.files:
            counts["file"] = sum(path.exists() and not has_picture(path, batch.name) for _, path in self._paths(batch, kept))
        return +counts

    def there(self, batch: Batch) -> Counter[str]:
        """How much of a batch ``take_back`` would remove."""
        counts = Counter[str]({kind: self._rows_there(kind, batch) for kind in KEY_COLUMNS})
        counts["file"] = sum(has_picture(path, batch.name) for path in self._files_there(batch))
        return +counts

    def take_back(self, batch: Batch) -> tuple[Counter[str], list[str]]:
        """Remove all of a batch, whatever the settings ask for by now; returns how much of each kind, and a line for what stays.

        That is a file that is not as we wrote it, and an image root that is away.
        """
        removed, left = Counter[str](), list[str]()
        for kind in KEY_COLUMNS:
            if self._rows_there(kind, batch):
                removed[kind] = self._table.delete(kind, batch.name)
        for path in self._files_there(batch):
            gone = remove_picture(path, batch.name)
            removed["file"] += gone
            left += [] if gone else [f"{path}: it is not as we wrote it"]
        if self.files and not self._own_folder and not _has_content(self._root):
            left.append(f"the pictures in {self._root}, if there are any: is it mounted? (paths.images) Then undo the batch once more")
        return removed, left

    def batches(self, kind: Kind) -> dict[str, int]:
        """The batches that a table has rows of, and how many."""
        return dict(self._table.batches(kind))

    def delete(self, kind: Kind, batch: str) -> int:
        """Delete the rows of a batch from one table; how many."""
        return self._table.delete(kind, batch)

    def _rows_there(self, kind: Kind, batch: Batch) -> int:
        try:
            return len(self._table.rows(kind, batch.name))
        except SettingsError:
            if kind in self.kinds:
                raise
            return 0  # a site that never asked for the table need not have it

    def _files_there(self, batch: Batch) -> Iterator[Path]:
        roots = [root for root in dict.fromkeys((self._root, self._images)) if _has_content(root)]
        for one in self._all_kept(batch) if roots else ():
            for path in (path for root in roots if (path := picture_path(root, one, batch.name)) is not None):
                if path.exists():
                    yield path

    def _kept(self, batch: Batch) -> Sequence[KeptScore]:
        return self._all_kept(batch) if self.kinds or self.files else ()

    def _all_kept(self, batch: Batch) -> Sequence[KeptScore]:
        with self._ledger.read() as connection:
            return kept_scores(connection, batch, self._codes)

    def _lacking(self, kind: Kind, batch: Batch, kept: Sequence[KeptScore]) -> Iterator[tuple[Any, ...]]:
        key = KEY_COLUMNS[kind]
        there = {row[:key] for row in self._table.rows(kind, batch.name)}
        if kind != "picture":
            yield from (row for one in kept for row in _rows(kind, one) if row[:key] not in there)
            return
        for one in kept:
            if one.artscore.key not in there and (picture := self._picture(batch, one)) is not None:
                yield *one.artscore.key, picture

    def _paths(self, batch: Batch, kept: Iterable[KeptScore]) -> Iterator[tuple[KeptScore, Path]]:
        for one in kept:
            if (path := picture_path(self._root, one, batch.name)) is not None:
                yield one, path

    def _picture(self, batch: Batch, kept: KeptScore) -> bytes | None:
        """The picture of a result; None where none was drawn, or the result was deleted (`[retention]`)."""
        archive = self._results / batch.name / f"{kept.work_unit}.zip"
        return read_overlay(archive, kept.public_id) if archive.is_file() else None

    def _check_root(self) -> None:
        if not self._own_folder and not self._root.is_dir():
            raise TryAgainLater(f"image root {self._root}: is not there; is it mounted? (paths.images) No pictures were written")


def _has_content(folder: Path) -> bool:
    try:
        return next(folder.iterdir(), None) is not None
    except OSError:
        return False


def _rows(kind: Kind, kept: KeptScore) -> Sequence[tuple[Any, ...]]:
    return kept.artscore.region_columns if kind == "region" else (kept.artscore.columns,)
