#!/bin/sh
# A BOINC client that is attached to the server by its account key, without asking anybody: for trying out.
set -eu
data=${BOINC_DATA:-/var/lib/boinc}
key_file=${KEY_FILE:-/run/secrets/volunteer/account_key}

if [ ! -s "$key_file" ]; then
  echo "volunteer: no account key: docker compose run --rm -T init set volunteer/account_key < KEY_FILE" >&2
  exit 3
fi
url=${MASTER_URL%/}/
place=${url#*://}
place=$(printf %s "${place%/}" | tr / _)
mkdir -p "$data"
(
  umask 077
  printf '<account>\n<master_url>%s</master_url>\n<authenticator>%s</authenticator>\n</account>\n' "$url" "$(cat "$key_file")" \
    > "$data/account_$place.xml"
)
cd "$data"
exec "${BOINC:-boinc}" --dir "$data"
