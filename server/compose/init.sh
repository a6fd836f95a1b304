#!/bin/sh
# Secrets of this installation, made at the first start: random passwords, never default ones. What is there is kept.
#
#   init.sh                 makes what is missing
#   init.sh set NAME        stores standard input as the secret NAME (xtaltrak/oracle_password, volunteer/account_key)
#
# Each group of secrets is a volume of its own, which only its readers mount. Within it files are readable to all: the
# databases' own users (uid 999, 54321) must read them, and the volumes belong to root on the host.
set -eu
umask 022
root=${SECRETS_ROOT:-/secrets}

fail() {
  echo "init: $1" >&2
  exit 3
}

# Written under another name and moved, so that a kill leaves no half secret.
store() {
  cat > "$root/$1.part"
  chmod 0444 "$root/$1.part"
  mv "$root/$1.part" "$root/$1"
}

# A letter first and 29 characters in all: what every database takes, Oracle before version 23 too. 112 random bits.
random() {
  printf p
  od -An -v -tx1 -N14 /dev/urandom | tr -d ' \n'
}

keep_or_make() {
  [ -s "$root/$1" ] || random | store "$1"
}

for group in boinc mysql ledger xtaltrak volunteer signing; do
  [ -d "$root/$group" ] || fail "$root/$group is missing: every volume of secrets has to be mounted"
  [ -w "$root/$group" ] || fail "$root/$group belongs to somebody else: docker compose run --rm files chown -R 1000:1000 $root/$group"
done

if [ "${1:-}" = set ]; then
  case ${2:-} in
    xtaltrak/oracle_password | xtaltrak/viewer_password | volunteer/account_key) ;;
    *) fail "set xtaltrak/oracle_password, xtaltrak/viewer_password or volunteer/account_key, not '${2:-}'" ;;
  esac
  # The end of a line that an editor or echo leaves is no part of a password.
  value=$(cat)
  [ -n "$value" ] || fail "$2: standard input is empty, nothing was stored"
  printf %s "$value" | store "$2"
  echo "init: $2 is stored"
  exit 0
fi
[ $# -eq 0 ] || fail "unknown call '$*'"

keep_or_make mysql/root_password
keep_or_make ledger/password
# For the profile oracle. The password of a lab's own Oracle is never made up: services that try a wrong one lock its account.
keep_or_make xtaltrak/trial_password
keep_or_make boinc/ops_password
keep_or_make boinc/invite_code

# BOINC's makeproject reads this file with its shell.
if [ ! -s "$root/boinc/secrets.env" ]; then
  printf 'DB_PASSWD=%s\nRECAPTCHA_PUBLIC_KEY=\nRECAPTCHA_PRIVATE_KEY=\nMAILPASS=\n' "$(cat "$root/mysql/root_password")" | store boinc/secrets.env
fi
mkdir -p "$root/boinc/html/ops" "$root/boinc/keys"
# SHA-1 is weak for passwords that people choose; this one has 112 random bits, and every Apache reads it.
if [ ! -s "$root/boinc/html/ops/.htpasswd" ]; then
  python3 -c 'import base64, hashlib, sys; print("admin:{SHA}" + base64.b64encode(hashlib.sha1(sys.argv[1].encode()).digest()).decode())' \
    "$(cat "$root/boinc/ops_password")" | store boinc/html/ops/.htpasswd
fi
echo "init: secrets are in place"
