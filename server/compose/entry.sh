#!/bin/sh
# Start of every service in our image: secrets come from files, settings from crystal-search.toml.
set -eu
secrets=${SECRETS:-/run/secrets}

if [ -r "$secrets/ledger/password" ]; then
  CRYSTAL_SEARCH_LEDGER_URL=postgresql://crystal_search:$(cat "$secrets/ledger/password")@${LEDGER_HOST:-ledger}/crystal_search
  export CRYSTAL_SEARCH_LEDGER_URL
fi
if [ -r "$secrets/xtaltrak/oracle_password" ]; then
  CRYSTAL_SEARCH_ORACLE_PASSWORD=$(cat "$secrets/xtaltrak/oracle_password")
  export CRYSTAL_SEARCH_ORACLE_PASSWORD
fi
if [ "${1:-}" = serve ] && [ -r "$secrets/xtaltrak/viewer_password" ]; then
  CRYSTAL_SEARCH_VIEWER_PASSWORD=$(cat "$secrets/xtaltrak/viewer_password")
  export CRYSTAL_SEARCH_VIEWER_PASSWORD
fi
exec crystal-search "$@"
