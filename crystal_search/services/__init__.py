"""The life of a service around its loop: one instance, its log, its ledger, and the endpoint that tells how it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from prometheus_client.registry import Collector

from crystal_search.ledger import Ledger, open_ledger
from crystal_search.logs import use_log_format
from crystal_search.service import Pulse, Stop, run_service
from crystal_search.services.alone import only_instance
from crystal_search.services.endpoint import endpoint
from crystal_search.services.metrics import LedgerMetrics, ServiceMetrics
from crystal_search.settings import ServiceName, Settings

#: A round as in ``crystal_search.service``, with the open ledger.
LedgerRound = Callable[[Stop, Ledger], bool | None]


def run(
    settings: Settings,
    name: ServiceName,
    round_function: LedgerRound,
    once: bool,
    *,
    alone: bool = True,
    seconds: float | None = None,
    tells_of_ledger: bool = False,
) -> None:
    """Run a service's rounds, as ``run_service`` does, until it is told to stop; with ``once`` until nothing is left to do now.

    The ledger is opened by the first round, so that a service that starts while it is away waits for it. ``alone``: a second
    instance is refused. ``seconds``: the pause between rounds, if it is not the settings'. ``tells_of_ledger``: this service's
    metrics count images, work units and batches too; one service does, or a sum over all would count them twice.
    Raises ``TryAgainLater`` when another instance runs, and what ``run_service`` raises.
    """
    use_log_format(settings.services.log)
    pulse = Pulse(name)
    with ExitStack() as opened:
        if alone:
            opened.enter_context(only_instance(settings.paths.state, name))
        if not once:
            opened.enter_context(_told(settings, name, pulse, tells_of_ledger))
        ledger: Ledger | None = None

        def one_round(stop: Stop) -> bool | None:
            nonlocal ledger
            if ledger is None:
                ledger = opened.enter_context(open_ledger(settings.ledger_url))
            return round_function(stop, ledger)

        pause = settings.generator.poll_seconds if seconds is None else seconds
        run_service(name, one_round, once, pause, longest_pause=settings.services.longest_pause_seconds, pulse=pulse)


@contextmanager
def _told(settings: Settings, name: ServiceName, pulse: Pulse, tells_of_ledger: bool) -> Iterator[None]:
    port = settings.services.ports.get(name)
    if port is None:
        yield
        return
    metrics: list[Collector] = [ServiceMetrics(pulse, settings.services.silence_seconds)]
    with ExitStack() as opened:
        if tells_of_ledger:
            metrics.append(opened.enter_context(LedgerMetrics(settings.ledger_url, settings.services.refresh_seconds)))
        opened.enter_context(endpoint((settings.services.listen, port), pulse, settings.services.silence_seconds, metrics))
        yield
