"""Thumbnails of new images are made before anybody opens the plate: in the background, while the viewer has nothing else to do."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from crystal_search.errors import CrystalSearchError
from viewer.lab import Lab
from viewer.person import Person, Role
from viewer.pictures import BrokenImage, Picture, PictureCache
from viewer.plate_view import inspection_drops
from viewer.plates import recent_inspections

_log = logging.getLogger(__name__)
#: Sees every plate: what is made here is shown to nobody who may not see it.
_NOBODY = Person("thumbnails", Role.VIEWER)
_ROUND_SECONDS = 60.0
#: An inspection with images missing is looked at again after so long; one that is complete, never.
_AGAIN_SECONDS = 600.0
#: So long after a request the viewer is at work.
_QUIET_SECONDS = 2.0
#: Lower than anybody's own work on that machine.
_NICENESS = 15


class Ahead:
    """A thread that makes the sheets of the newest inspections, the newest first."""

    def __init__(self, lab: Lab, pictures: PictureCache) -> None:
        self._lab = lab
        self._pictures = pictures
        self._stopped = threading.Event()
        self._asked_at = 0.0
        self._again: dict[tuple[str, int], float] = {}  # when an inspection is looked at again
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._lab.settings.viewer.thumbnails_ahead:
            self._thread = threading.Thread(target=self._run, name="thumbnails", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread:
            self._thread.join(30)

    def somebody_asks(self) -> None:
        """The viewer has something else to do for a while."""
        self._asked_at = time.monotonic()

    def round(self) -> int:
        """Make what is missing of the newest inspections; how many sheets that were."""
        made = 0
        newest = recent_inspections(self._lab, _NOBODY, self._lab.settings.viewer.worklist_inspections)
        keys = [(recent.plate.barcode, recent.number) for recent in newest]
        self._again = {key: at for key, at in self._again.items() if key in keys}
        for key in keys:
            if time.monotonic() < self._again.get(key, 0.0):
                continue
            found = inspection_drops(self._lab, *key)
            for version, tiles in found.sheets.tiles.items():
                if self._pictures.has_sheet(version):
                    continue
                if not self._thumbnails(tiles):
                    return made
                self._pictures.sheet(version, tiles)
                made += 1
            is_complete = all(image in found.there for image in found.shown)
            self._again[key] = float("inf") if is_complete else time.monotonic() + _AGAIN_SECONDS
        return made

    def _thumbnails(self, tiles: Sequence[Picture | None]) -> bool:
        """One after the other, so that others keep the processors; False when it is time to end."""
        for tile in tiles:
            if not self._is_quiet():
                return False
            if tile is not None:
                with suppress(BrokenImage):
                    self._pictures.thumbnail(tile)
        return True

    def _is_quiet(self) -> bool:
        """Waits until nobody asks; False when it is time to end."""
        while not self._stopped.is_set() and (wait := self._asked_at + _QUIET_SECONDS - time.monotonic()) > 0:
            self._stopped.wait(wait)
        return not self._stopped.is_set()

    def _run(self) -> None:
        with suppress(AttributeError, OSError):  # Linux: of this thread alone
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._stopped.wait(_QUIET_SECONDS):
            try:
                self.round()
            except CrystalSearchError as error:  # the pages tell it too
                _log.info("thumbnails wait: %s", error)
            except Exception:  # a convenience must not end the viewer, nor itself
                _log.exception("thumbnails could not be made ahead")
            self._stopped.wait(_ROUND_SECONDS)
