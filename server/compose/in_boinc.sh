#!/bin/sh
# Runs a command in BOINC's container, in the project's directory: in_boinc.sh bin/create_work ARGUMENTS... < STANDARD_INPUT
#
# Our services have no Docker socket, which would be root on the host. They leave a request in a folder of the project's volume, and
# boinc_tools.sh on the other side runs it. Output, errors and exit code are the command's; 4 when nobody answers.
set -eu
requests=${CRYSTAL_SEARCH_REQUESTS:-/home/boincadm/project/crystal_search_requests}
patience=${CRYSTAL_SEARCH_TOOL_SECONDS:-300}

if [ ! -d "$requests" ]; then
  echo "in_boinc: $requests is not there: is the service 'apache' running?" >&2
  exit 4
fi
new=$(mktemp -d "$requests/.new-XXXXXXXX")
trap 'rm -rf "$new"' EXIT
name=$(basename "$new")
name=${name#.new-}
mkdir "$new/arguments"
number=1000
for argument; do
  printf %s "$argument" > "$new/arguments/$number"
  number=$((number + 1))
done
if [ -t 0 ]; then : > "$new/input"; else cat > "$new/input"; fi
chmod 0770 "$new"
mv "$new" "$requests/$name.request"

end=$(($(date +%s) + patience))
until [ -d "$requests/$name.done" ]; do
  if [ "$(date +%s)" -ge "$end" ]; then
    # Not taken yet: taken back, so that it does not run hours later.
    if mv "$requests/$name.request" "$new" 2> /dev/null; then
      echo "in_boinc: nobody took the request within $patience s: is the service 'apache' well?" >&2
      exit 4
    fi
    if [ "$(date +%s)" -ge $((end + patience)) ]; then
      echo "in_boinc: $1 has not ended within $((2 * patience)) s" >&2
      exit 4
    fi
  fi
  sleep 0.1
done
cat "$requests/$name.done/output"
cat "$requests/$name.done/errors" >&2
code=$(cat "$requests/$name.done/code")
rm -rf "$requests/$name.done"
exit "$code"
