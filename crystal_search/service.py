"""The loop of every service: rounds of work until a signal, one log line an event, a clean stop between two steps."""

from __future__ import annotations

import gc
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crystal_search.errors import TryAgainLater

_LOOK_SECONDS = 0.2


class Stop:
    """Whether a service was asked to stop. A plain flag: the locks of ``threading.Event`` are not safe in a signal handler."""

    def __init__(self) -> None:
        self._asked = False

    def set(self) -> None:
        self._asked = True

    def is_set(self) -> bool:
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Sleep up to ``seconds``, less when asked to stop; whether it was asked to."""
        end = time.monotonic() + seconds
        while not self._asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
        return self._asked


#: One round of work. It looks at ``stop.is_set()`` between two steps and returns early when it is; what it returns tells
#: whether there is more to do at once (None counts as no).
Round = Callable[[Stop], bool | None]


def run_service(name: str, round_function: Round, once: bool, seconds: float) -> None:
    """Run rounds until SIGTERM or SIGINT; with ``once`` until nothing is left that can be done now.

    Between rounds that leave nothing to do at once the service sleeps ``seconds``. A round that raises ``TryAgainLater`` is
    tried again after ``seconds``, and each new reason is logged once; with ``once`` it ends the service. Any other error ends it.
    A second signal ends the program at once, which is safe too. To be called from the main thread.
    """
    log = logging.getLogger(name)
    collect_less_often()
    trouble = ""
    with stopped_by_signals() as stop:
        while not stop.is_set():
            try:
                more = round_function(stop)
            except TryAgainLater as error:
                if once:
                    raise
                if str(error) != trouble:
                    log.warning("%s", error)
                trouble, more = str(error), False
            else:
                if trouble:
                    log.info("works again")
                trouble = ""
            if once and not more:
                return
            if not more:
                stop.wait(seconds)
    log.info("stopped by a signal")


def collect_less_often() -> None:
    """Let Python look for garbage cycles less often: rows by the thousand come and go, and none of them is in a cycle."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """A flag that SIGTERM and SIGINT set; the handlers from before come back with the first signal, and at the end.

    So a second signal ends the program at once, which is safe too.
    """
    stop = Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(_number: int, _frame: object) -> None:
        stop.set()
        restore()

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()
