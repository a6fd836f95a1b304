"""What became of BOINC's tasks in the last day, computer by computer: BOINC's pages tell no error rates, its database does."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from crystal_search.errors import TryAgainLater
from crystal_search.grid.boinc_tools import APPLICATION, BoincTools

HOURS = 24
#: So many computers are named.
WORST = 5
#: BOINC's numbers (html/inc/common_defs.inc): outcome 1 success, 3 client error, 4 no reply, 6 refused, 7 detached; validity 1 yes, 2 no.
#: What was never reported has no time of receipt: it is lost since its deadline.
_PHP = """
chdir("html/ops");
require_once("../inc/boinc_db.inc");
$app = BoincApp::lookup("name='".$argv[1]."'");
$since = time() - (int)$argv[2];
$rows = array();
$found = $app ? BoincDb::get()->do_query("
    SELECT r.hostid, COALESCE(MAX(h.domain_name), ''), SUM(r.outcome = 1 AND r.validate_state = 1),
        SUM(r.outcome = 6 OR (r.outcome = 1 AND r.validate_state = 2)), SUM(r.outcome = 3), SUM(r.outcome IN (4, 7))
    FROM result r LEFT JOIN host h ON h.id = r.hostid
    WHERE r.appid = $app->id AND r.server_state = 5 AND r.hostid > 0
        AND (r.received_time > $since OR (r.received_time = 0 AND r.outcome IN (4, 7) AND r.report_deadline > $since))
    GROUP BY r.hostid") : false;
if ($app && !$found) exit(1);
while ($found && $row = $found->fetch_row())
    $rows[] = array((int)$row[0], $row[1], (int)$row[2], (int)$row[3], (int)$row[4], (int)$row[5]);
echo json_encode($rows, JSON_INVALID_UTF8_SUBSTITUTE);
"""
_NAME_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Computer:
    """A computer by BOINC's number, and how many of its tasks ended how."""

    id: int
    name: str
    valid: int
    refused: int
    errors: int
    lost: int

    @property
    def bad(self) -> int:
        return self.refused + self.errors + self.lost


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """The tasks that ended within ``HOURS``: ``lost`` never came back. ``worst`` are computers with bad ones, the most first."""

    computers: int
    valid: int
    refused: int
    errors: int
    lost: int
    worst: list[Computer]

    @property
    def bad_share(self) -> float:
        """The error rate, from 0 to 1; 0 where nothing ended."""
        bad = self.refused + self.errors + self.lost
        return bad / (self.valid + bad) if bad else 0.0


def read_task_counts(tools: BoincTools) -> TaskCounts:
    """Ask BOINC's database. Raises ``TryAgainLater`` with one line where that can not be had."""
    answer = tools.php(_PHP, APPLICATION, str(HOURS * 3600))
    try:
        rows = msgspec.json.decode(answer or "", type=list[tuple[int, str, int, int, int, int]])
    except msgspec.DecodeError as error:
        raise TryAgainLater("BOINC's database can not be asked what became of the tasks (php, run as BOINC's tools are)") from error
    computers = [Computer(row[0], " ".join(row[1].split())[:_NAME_LENGTH], *row[2:]) for row in rows]
    return TaskCounts(
        computers=len(computers),
        valid=sum(computer.valid for computer in computers),
        refused=sum(computer.refused for computer in computers),
        errors=sum(computer.errors for computer in computers),
        lost=sum(computer.lost for computer in computers),
        worst=sorted((c for c in computers if c.bad), key=lambda c: (-c.bad, c.id))[:WORST],
    )
