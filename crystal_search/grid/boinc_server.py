"""How a BOINC server is, as its own page ``server_status.php?xml=1`` tells. BOINC counts anew about once an hour."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from xml.etree import ElementTree

from crystal_search.errors import TryAgainLater
from crystal_search.grid.boinc_tools import APPLICATION

_SECONDS = 5.0
_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """BOINC's own counts. Tasks are copies of work units that are sent out; those of other applications are not counted."""

    tasks_to_send: int
    tasks_in_progress: int
    waiting_for_validation: int
    waiting_for_assimilation: int
    computers: int  # with credit of late
    daemons_down: list[str]


def read_server_status(url: str) -> ServerStatus:
    """The status of the project whose web pages are at ``url``. Raises ``TryAgainLater`` with one line."""
    page = f"{url.rstrip('/')}/server_status.php?xml=1"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a server of the lab's own network
    try:
        with opener.open(page, timeout=_SECONDS) as answer:
            root = ElementTree.fromstring(answer.read(_MAX_BYTES))
    except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
        raise TryAgainLater(f"{page}: no answer ({getattr(error, 'reason', None) or error}); see boinc.url") from error
    except ElementTree.ParseError as error:
        raise TryAgainLater(f"{page}: not the XML of a BOINC server ({error}); see boinc.url") from error
    states = root.find("database_file_states")
    if root.tag != "server_status" or states is None:
        raise TryAgainLater(f"{page}: not the XML of a BOINC server; see boinc.url")
    ours = next((app for app in states.iter("app") if app.findtext("name") == APPLICATION), states)
    return ServerStatus(
        tasks_to_send=_count(ours, "unsent"),
        tasks_in_progress=_count(ours, "in_progress"),
        waiting_for_validation=_count(states, "workunits_waiting_for_validation"),
        waiting_for_assimilation=_count(states, "workunits_waiting_for_assimilation"),
        computers=_count(states, "hosts_with_recent_credit"),
        daemons_down=[
            " ".join((daemon.findtext("command") or "").split())
            for daemon in root.iter("daemon")
            if daemon.findtext("status") == "not running"
        ],
    )


def _count(element: ElementTree.Element, name: str) -> int:
    try:
        return int(float(element.findtext(name) or 0))
    except (ValueError, OverflowError):
        return 0
