"""The loop of every service: rounds of work until a signal, one log line an event, a clean stop between two steps."""

from __future__ import annotations

import gc
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crystal_search.errors import Paused, TryAgainLater

_LOOK_SECONDS = 0.2
#: The pause after failed rounds doubles up to this.
LONGEST_PAUSE_SECONDS = 300.0


class Stop:
    """Whether a service was asked to stop. A plain flag: the locks of ``threading.Event`` are not safe in a signal handler."""

    def __init__(self) -> None:
        self._asked = False
        self.looked_at = time.monotonic()  #: when somebody last asked, which a round does between two steps: a sign of life

    def set(self) -> None:
        self._asked = True

    def is_set(self) -> bool:
        self.looked_at = time.monotonic()
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Sleep up to ``seconds``, less when asked to stop; whether it was asked to."""
        end = time.monotonic() + seconds
        while not self.is_set() and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
        return self._asked


#: One round of work. It looks at ``stop.is_set()`` between two steps and returns early when it is; what it returns tells
#: whether there is more to do at once (None counts as no).
Round = Callable[[Stop], bool | None]


class Pulse:
    """How a service is: written by its loop, read by the thread that answers questions about it. Times are UNIX seconds."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.rounds = {"done": 0, "failed": 0}
        self.succeeded_at: float | None = None
        self._trouble: tuple[str, float] | None = None
        self._stop: Stop | None = None

    def begin(self, stop: Stop) -> None:
        self._stop = stop

    def done(self) -> None:
        self.rounds["done"] += 1
        self.succeeded_at = time.time()
        self._trouble = None

    def failed(self, reason: str) -> None:
        self.rounds["failed"] += 1
        since = time.time() if self._trouble is None else self._trouble[1]
        self._trouble = (reason, since)

    def unwell(self, silence_seconds: float) -> str | None:
        """One line about what is wrong: the last round failed, or no sign of life for ``silence_seconds``. None: all is well."""
        trouble, stop = self._trouble, self._stop
        if trouble is not None:
            return f"for {time.time() - trouble[1]:.0f} s: {trouble[0]}"
        if stop is not None and (silent := time.monotonic() - stop.looked_at) > silence_seconds:
            return f"no sign of life for {silent:.0f} s"
        return None


def run_service(
    name: str,
    round_function: Round,
    once: bool,
    seconds: float,
    *,
    longest_pause: float = LONGEST_PAUSE_SECONDS,
    pulse: Pulse | None = None,
) -> None:
    """Run rounds until SIGTERM or SIGINT; with ``once`` until nothing is left that can be done now.

    Between rounds that leave nothing to do at once the service sleeps ``seconds``. A round that raises ``TryAgainLater`` is
    tried again after ``seconds``, then after twice as long, and so on up to ``longest_pause``. Each reason is logged once until
    a round succeeds, which is logged too; with ``once`` the error ends the service. Any other error ends it. A paused round is told
    once and looked at again after ``seconds``.
    A second signal ends the program at once, which is safe too. To be called from the main thread.
    """
    log = logging.getLogger(name)
    collect_less_often()
    pulse = pulse or Pulse(name)
    told: set[str] = set()
    failures, since = 0, 0.0
    with stopped_by_signals() as stop:
        pulse.begin(stop)
        while not stop.is_set():
            try:
                more = round_function(stop)
            except Paused as pause:
                if once:
                    raise
                pulse.done()  # what rests is well
                if str(pause) not in told:
                    log.info("%s", pause)
                    told.add(str(pause))
                stop.wait(seconds)
                continue
            except TryAgainLater as error:
                if once:
                    raise
                pulse.failed(str(error))
                if not failures:
                    since = time.monotonic()
                if str(error) not in told:
                    log.warning("%s", error)
                    told.add(str(error))
                stop.wait(min(seconds * 2.0 ** min(failures, 30), max(longest_pause, seconds)))
                failures += 1
                continue
            pulse.done()
            if failures:
                log.info("works again after %.0f s", time.monotonic() - since)
            failures = 0
            told.clear()
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
