#!/bin/sh
# Is the service in this container well? A service with a HEALTH_URL answers over HTTP; of another one the first
# process has to be alive, and the folder that it works in has to take a file.
set -eu
if [ -n "${HEALTH_URL:-}" ]; then
  exec python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=10)' "$HEALTH_URL"
fi
kill -0 1
probe=${HEALTH_FOLDER:-/srv/crystal-search}/.healthy-$(hostname)
echo well > "$probe"
rm -f "$probe"
