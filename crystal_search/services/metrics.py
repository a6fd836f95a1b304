"""What Prometheus is told: of a service's rounds, and of the ledger's images, work units and batches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from types import TracebackType

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from crystal_search import __version__
from crystal_search.errors import CrystalSearchError
from crystal_search.ledger import Ledger, open_ledger
from crystal_search.ledger.counts import ImageCounts
from crystal_search.ledger.progress import RETURNED, Progress, read_progress
from crystal_search.service import Pulse

_log = logging.getLogger(__name__)


class ServiceMetrics(Collector):
    """Rounds, the last that succeeded, and whether all is well."""

    def __init__(self, pulse: Pulse, silence_seconds: float) -> None:
        self._pulse = pulse
        self._silence_seconds = silence_seconds

    def collect(self) -> Iterator[Metric]:
        pulse, name = self._pulse, self._pulse.service
        rounds = CounterMetricFamily("crystal_search_rounds", "Rounds of work by how they ended.", labels=["service", "outcome"])
        for outcome, count in pulse.rounds.items():
            rounds.add_metric([name, outcome], count)
        yield rounds
        well = GaugeMetricFamily("crystal_search_well", "1 when /health says 200, else 0.", labels=["service"])
        well.add_metric([name], pulse.unwell(self._silence_seconds) is None)
        yield well
        last = GaugeMetricFamily("crystal_search_last_success_timestamp_seconds", "When a round last succeeded.", labels=["service"])
        if pulse.succeeded_at is not None:
            last.add_metric([name], pulse.succeeded_at)
        yield last
        version = GaugeMetricFamily("crystal_search_version_info", "Always 1; the label has the version.", labels=["service", "version"])
        version.add_metric([name, __version__], 1)
        yield version


class LedgerMetrics(Collector):
    """How far the images are. A thread reads the ledger every ``refresh_seconds``; a question gets what was read last."""

    def __init__(self, ledger_url: str, refresh_seconds: float) -> None:
        self._url = ledger_url
        self._refresh_seconds = refresh_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_reading, name="ledger metrics", daemon=True)
        self._progress: Progress | None = None
        self._up = False
        self._took = 0.0

    def __enter__(self) -> LedgerMetrics:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _keep_reading(self) -> None:
        counts = ImageCounts()
        ledger: Ledger | None = None
        while not self._ended.is_set():
            begun = time.monotonic()
            try:
                ledger = ledger or open_ledger(self._url)
                with ledger.read() as connection:
                    self._progress = read_progress(connection, counts)
                self._up, self._took = True, time.monotonic() - begun
            except CrystalSearchError as error:  # the service's own rounds say that the ledger is away, in one line
                self._up = False
                _log.debug("%s", error)
            self._ended.wait(self._refresh_seconds)
        if ledger is not None:
            ledger.close()

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("crystal_search_ledger_up", "1 when the ledger could be read the last time, else 0.", self._up)
        if (progress := self._progress) is None:
            return
        yield GaugeMetricFamily("crystal_search_ledger_read_seconds", "How long the last reading of the ledger took.", self._took)
        yield GaugeMetricFamily("crystal_search_ledger_read_timestamp_seconds", "When the ledger was last read.", progress.at.timestamp())
        for what, counts in (("images", progress.images), ("work_units", progress.work_units), ("batches", progress.batches)):
            family = GaugeMetricFamily(f"crystal_search_{what}", f"{what.replace('_', ' ').capitalize()} by state.", labels=["state"])
            for state, count in counts.items():
                family.add_metric([state], count)
            yield family
        yield CounterMetricFamily(
            "crystal_search_images_returned",
            "Images that came back with a result; its rate is the pace.",
            sum(progress.images[state] for state in RETURNED),
        )
        yield CounterMetricFamily("crystal_search_refused_results", "Results that were set aside.", progress.refused_results)
        lag = GaugeMetricFamily(
            "crystal_search_lag_seconds",
            "From the inspection to the ARTscore, and to its row in XtalTrak, of the latest real-time images.",
            labels=["until", "quantile"],
        )
        for until, quantiles in progress.lag.items():
            for quantile, seconds in quantiles.items():
                lag.add_metric([until, str(quantile)], seconds)
        yield lag
        oldest = GaugeMetricFamily("crystal_search_oldest_open_batch_seconds", "Age of the oldest unfinished batch.", labels=["work"])
        for work, seconds in progress.oldest_open.items():
            oldest.add_metric([work], seconds)
        yield oldest
