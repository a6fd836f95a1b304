"""Merge our part into a stock BOINC project, and take it out again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from string import Template

from server.config_xml import NAME as CONFIG
from server.config_xml import daemon_commands, merge_config, missing_daemons, restore_config
from server.limits import Replication, Workload
from server.lists import merge_list, restore_list
from server.project_files import BACKUP_SUFFIX, ProjectFiles
from server.record import FILE as RECORD
from server.record import Record, read_record, write_record
from server.web_settings import NAME as WEB
from server.web_settings import invite_pattern, merge_web, restore_web

FILES = Path(__file__).with_name("files")
SCRIPTS = (
    "crystal_search_ask",
    "crystal_search_validate",
    "crystal_search_compare",
    "crystal_search_assimilate",
    "crystal_search_replication",
)
TEMPLATES = ("crystal_search_in", "crystal_search_out")
LISTS = ("project.xml", "plan_class_spec.xml")
ADDRESS, INBOX = "bin/validator_address", "bin/inbox_path"


class Accounts(StrEnum):
    """Who may make an account on the project's web pages."""

    CLOSED = "closed"
    INVITE = "invite"
    OPEN = "open"


@dataclass(frozen=True)
class Wish:
    """What the project shall be like."""

    workload: Workload = field(default_factory=Workload)
    jobs_per_gpu: int = 4
    accounts: Accounts = Accounts.CLOSED
    invite_codes: tuple[str, ...] = ()
    validator: str = "http://127.0.0.1:8470"
    inbox: str = ""
    few_computers: bool = False

    def values(self) -> dict[str, str]:
        """The elements of ``config.xml`` that we set; why each is set stands in server/README.md."""
        return {
            "ignore_upload_certificates": "0",
            "dont_generate_upload_certificates": "0",
            "max_wus_in_progress": str(self.workload.jobs_per_core),
            "max_wus_in_progress_gpu": str(self.jobs_per_gpu),
            "daily_result_quota": str(self.workload.daily_quota),
            # With few computers, what one of them has failed at or lost could never be sent again. Copies that are compared always differ.
            "one_result_per_host_per_wu": "0" if self.few_computers and self.workload.replication is Replication.ONE else "1",
            "resend_lost_results": "1",
            "disable_account_creation": "1" if self.accounts is Accounts.CLOSED else "0",
        }

    def web(self) -> dict[str, str]:
        """The constants of the web pages."""
        codes = {"INVITE_CODES": invite_pattern(self.invite_codes)} if self.accounts is Accounts.INVITE else {}
        return {"USE_STOPFORUMSPAM": "false", **codes}


def install(project: ProjectFiles, wish: Wish) -> list[str]:
    """Note every change that makes ``project`` ours in ``project``; returns them as lines, none when it is so already.

    Raises ``CrystalSearchError`` when a file of the project can not be understood.
    """
    record = read_record(project.read(RECORD)) or Record()
    lines = _merge_files(project, wish, record)
    config = project.read(CONFIG)
    assert config is not None  # open_project has read it
    config, said = merge_config(config, wish.values(), daemon_commands(wish.workload.replication is not Replication.ONE), record)
    project.edit(CONFIG, config)
    lines += said
    for name in LISTS:
        lines += _merge_into_list(project, name, record)
    lines += _merge_into_web(project, wish.web(), record)
    project.put(RECORD, write_record(record))
    return lines


def remove(project: ProjectFiles) -> list[str]:
    """Note every change that takes us out of ``project``; returns them as lines, none when we are not there."""
    record = read_record(project.read(RECORD))
    if record is None:
        return []
    lines = []
    for name, digest in record.files.items():
        content = project.read(name)
        if content is not None and _sha256(content) != digest:
            lines.append(f"{name}: was changed by hand and stays")
        elif project.put(name, None):
            lines.append(f"{name}: removed")
    config = project.read(CONFIG)
    assert config is not None  # open_project has read it
    config, said = restore_config(config, record)
    _put_back(project, CONFIG, config)
    lines += said
    for name in LISTS:
        if (content := project.read(name)) is not None:
            content, said = restore_list(name, content, record)
            lines += said
            _put_back(project, name, content, created=name in record.created)
    if (content := project.read(WEB)) is not None:
        content, said = restore_web(content, record)
        lines += said
        _put_back(project, WEB, content)
    project.put(RECORD, None)
    return lines


def next_steps(project: ProjectFiles) -> list[str]:
    """What the admin has to do, for this program does not run BOINC's."""
    steps = [f"config.xml has no daemon {name}: BOINC needs one" for name in missing_daemons(project.read(CONFIG) or b"")]
    if project.read("project.xml") is not None:
        steps.append("bin/xadd                        # once: tells BOINC's database of the application")
    steps.append("bin/crystal_search_replication  # tells it how many computers score a work unit")
    steps.append("bin/stop && bin/start           # the daemons read config.xml and the database at their start")
    return steps


def _merge_files(project: ProjectFiles, wish: Wish, record: Record) -> list[str]:
    lines = []
    for name, content in _own_files(wish).items():
        present = project.read(name)
        digest = _sha256(content)
        known = record.files.get(name)
        if present is not None and present != content and (known is None or _sha256(present) != known):
            lines.append(f"{name}: was changed by hand and stays; delete it to get the new one")
            continue
        record.files[name] = digest
        if project.put(name, content, executable=Path(name).name in SCRIPTS):
            lines.append(f"{name}: {'written' if present is None else 'changed'}")
    for name in (ADDRESS, INBOX):
        if name not in _own_files(wish) and record.files.pop(name, None) is not None and project.put(name, None):
            lines.append(f"{name}: removed")
    return lines


def _own_files(wish: Wish) -> dict[str, bytes]:
    """What is ours alone, by its place in the project."""
    copies = b"2" if wish.workload.replication is Replication.ADAPTIVE else b"0"
    files = {f"bin/{name}": (FILES / "bin" / name).read_bytes().replace(b"@COPIES@", copies) for name in SCRIPTS}
    numbers: Mapping[str, str] = wish.workload.numbers()
    for name in TEMPLATES:
        files[f"templates/{name}"] = Template((FILES / "templates" / name).read_text()).substitute(numbers).encode()
    files[ADDRESS] = f"{wish.validator}\n".encode()
    if wish.inbox:
        files[INBOX] = f"{wish.inbox}\n".encode()
    return files


def _merge_into_list(project: ProjectFiles, name: str, record: Record) -> list[str]:
    ours = (FILES / name).read_bytes()
    content = project.read(name)
    if content is None:
        root = "boinc" if name == "project.xml" else "plan_classes"
        content = f"<{root}>\n</{root}>\n".encode()
        if name not in record.created:
            record.created.append(name)
    content, lines = merge_list(name, content, ours, record)
    project.edit(name, content)
    return lines


def _merge_into_web(project: ProjectFiles, values: dict[str, str], record: Record) -> list[str]:
    content = project.read(WEB)
    if content is None:
        return [] if project.read(RECORD) else [f"{WEB}: not there; the web pages stay as they are"]
    lines = []
    for name in list(record.web):
        if name not in values:
            content, said = restore_web(content, record, only=name)
            lines += said
            del record.web[name]
    content, said = merge_web(content, values, record)
    project.edit(WEB, content)
    return lines + said


def _put_back(project: ProjectFiles, name: str, content: bytes, created: bool = False) -> None:
    """Write a restored file; its copy goes when it says the same, and a file that we made goes when only its frame is left."""
    frame = content.split()
    if created and len(frame) == 2 and frame[1] == b"</" + frame[0][1:]:
        project.put(name, None)
        return
    project.put(name, content)
    if project.read(name + BACKUP_SUFFIX) == content:
        project.put(name + BACKUP_SUFFIX, None)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
