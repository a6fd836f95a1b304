#!/bin/sh
# In BOINC's container, as boincadm: runs what in_boinc.sh asks for in the project's directory, one command after the other.
# Who can ask is who can write into the project's volume, and so could change BOINC's own programs: it gives no new rights.
set -eu
project=${PROJECT_ROOT:-/home/boincadm/project}
requests=${CRYSTAL_SEARCH_REQUESTS:-$project/crystal_search_requests}

umask 007
# The project's folder may not be there before the first start is through.
until [ -d "$project/bin" ]; do sleep 1; done
mkdir -p "$requests"
cd "$project"

answer() {
  printf '%s\n' "$2" > "$1/code"
  mv "$1" "${1%.running}.done"
}

run() {
  folder=$1
  set --
  for argument in "$folder"/arguments/*; do
    # The x keeps line breaks at the end, which a shell cuts off.
    value=$(cat "$argument" && echo x)
    set -- "$@" "${value%x}"
  done
  code=0
  "$@" < "$folder/input" > "$folder/output" 2> "$folder/errors" || code=$?
  answer "$folder" "$code"
}

# What was running when this script was killed: whether it had its effect is not known, so the caller has to look.
for left in "$requests"/*.running; do
  [ -d "$left" ] || continue
  touch "$left/output"
  echo "boinc_tools: stopped in the middle" >> "$left/errors"
  answer "$left" 4
done
while :; do
  for request in "$requests"/*.request; do
    [ -d "$request" ] || continue
    running=${request%.request}.running
    mv "$request" "$running" 2> /dev/null || continue
    run "$running"
  done
  [ -z "${CRYSTAL_SEARCH_ONCE:-}" ] || exit 0
  # Answers that nobody fetched: their caller was killed.
  find "$requests" -mindepth 1 -maxdepth 1 \( -name '*.done' -o -name '.new-*' \) -mmin +60 -exec rm -rf {} +
  sleep 0.2
done
