#!/bin/sh
# Around the command of BOINC's apache image: BOINC's tools for our services, then web pages and daemons as always.
set -eu
# Process ids start anew in a new container: BOINC would take a stranger with an old number for its daemon.
rm -f "$PROJECT_ROOT"/pid_*/*.pid

(
  while :; do
    su "${BOINC_USER:-boincadm}" -s /bin/sh -c "exec sh '$(dirname "$0")/boinc_tools.sh'" || true
    sleep 1
  done
) &
exec "${SUPERVISORD:-/usr/bin/supervisord}"
