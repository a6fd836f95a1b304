"""Makes a project in ``$PROJECT_ROOT.dst``, as ``makeproject-step2.sh`` of BOINC's image does, with tools that behave as BOINC's."""

from __future__ import annotations

import os
from pathlib import Path

from boinc_project import make_project
from fake_boinc import write_tools

made = Path(f"{os.environ['PROJECT_ROOT']}.dst")
make_project(made)
write_tools(made)
for name in ("xadd", "update_versions"):
    (made / "bin" / name).write_text("#!/bin/sh\nexit 0\n")
    (made / "bin" / name).chmod(0o755)
(made / f".built_{os.environ['PROJECT']}").touch()
