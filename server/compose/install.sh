#!/bin/sh
# Our files, daemons and limits into BOINC's project, with the choices of .env; a second time changes nothing.
set -eu
secrets=${SECRETS:-/run/secrets}

set -- --replication "${REPLICATION:-1}" --computers "${COMPUTERS:-many}" --seconds-per-image "${SECONDS_PER_IMAGE:-5}" --accounts "${ACCOUNTS:-invite}"
if [ "${ACCOUNTS:-invite}" = invite ]; then
  set -- "$@" --invite-code "$(cat "$secrets/boinc/invite_code")"
fi
exec crystal-search server install "${PROJECT_ROOT:-/home/boincadm/project}" --validator "${VALIDATOR:-http://validator:8470}" --inbox /inbox "$@"
