"""A project folder as BOINC's ``make_project`` leaves it, as far as an admin and our installer look at it.

The elements are those of server release 1.6.2, written by the same XML library in the same way (four spaces, one element a line).
"""

from __future__ import annotations

from pathlib import Path
from xml.dom import minidom

_CONFIG = {
    "long_name": "Crystals of the lab",
    "db_user": "boincadm",
    "db_name": "crystals",
    "db_passwd": "hidden & secret",
    "db_host": "mysql",
    "shmem_key": "0x11114a1c",
    "uldl_dir_fanout": "1024",
    "host": "boincserver",
    "min_sendwork_interval": "6",
    "max_wus_to_send": "50",
    "daily_result_quota": "500",
    "disable_account_creation": "0",
    "disable_account_creation_rpc": "0",
    "show_results": "1",
    "cache_md5_info": "1",
    "sched_debug_level": "3",
    "fuh_debug_level": "3",
    "one_result_per_user_per_wu": "0",
    "send_result_abort": "1",
    "dont_generate_upload_certificates": "1",
    "ignore_upload_certificates": "1",
    "master_url": "http://boincserver/crystals/",
    "download_url": "http://boincserver/crystals/download",
    "upload_url": "http://boincserver/crystals_cgi/file_upload_handler",
}
_DAEMONS = ("feeder -d 3 ", "transitioner -d 3 ", "file_deleter -d 3 ")
_TASKS = {"antique_file_deleter": ("24 hours", "antique_file_deleter -d 2"), "update_stats": ("1 days", "update_stats")}

_PROJECT_INC = b"""<?php

require_once("../inc/util.inc");

define("PROJECT", "Crystals of the lab");
$master_url = parse_config(get_config(), "<master_url>");
define("URL_BASE", $master_url);
//define("INVITE_CODES", "/^an-example$/");
define("USE_STOPFORUMSPAM", true);
    // ask the internet about everybody who signs up

function project_banner($title) { echo $title; }
?>
"""


def make_project(folder: Path) -> Path:
    """Make the project in ``folder``, which is returned."""
    for name in ("bin", "cgi-bin", "templates", "upload", "download", "keys", "apps", "html/project", "html/user", "log_boincserver"):
        (folder / name).mkdir(parents=True)
    _write_config(folder)
    (folder / "html/project/project.inc").write_bytes(_PROJECT_INC)
    platforms = "".join(
        f"    <platform>\n        <name>{name}</name>\n        <user_friendly_name>{title}</user_friendly_name>\n    </platform>\n"
        for name, title in (("windows_x86_64", "Windows"), ("x86_64-pc-linux-gnu", "Linux"))
    )
    (folder / "project.xml").write_text(f"<boinc>\n{platforms}</boinc>\n")
    for program in ("feeder", "transitioner", "file_deleter", "script_validator", "script_assimilator"):
        (folder / "bin" / program).write_text("#!/bin/sh\n")
    return folder


def _write_config(folder: Path) -> None:
    document = minidom.parseString("<boinc><config></config></boinc>")
    root = document.documentElement
    config = root.getElementsByTagName("config")[0]

    def add(parent: minidom.Element, name: str, text: str | None = None) -> minidom.Element:
        element = document.createElement(name)
        if text is not None:
            element.appendChild(document.createTextNode(text))
        parent.appendChild(element)
        return element

    for name, text in _CONFIG.items():
        add(config, name, text)
    for name in ("download", "upload", "keys", "apps"):
        add(config, {"keys": "key_dir", "apps": "app_dir"}.get(name, f"{name}_dir"), str(folder / name))
    add(config, "log_dir", str(folder / "log_boincserver"))
    tasks, daemons = add(root, "tasks"), add(root, "daemons")
    for name, (period, command) in _TASKS.items():
        task = add(tasks, "task")
        for key, text in {"cmd": command, "output": f"{name}.out", "period": period, "disabled": "0"}.items():
            add(task, key, text)
    for command in _DAEMONS:
        add(add(daemons, "daemon"), "cmd", command)
    path = folder / "config.xml"
    with path.open("w") as file:
        document.writexml(file, "", " " * 4, "\n")
    path.chmod(0o640)
