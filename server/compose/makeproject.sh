#!/bin/sh
# Around makeproject of BOINC's image, which can run once only: makes the project at the first `up`, does nothing afterwards.
set -eu
made=${PROJECT_ROOT}.dst
secrets=${SECRETS:-/run/secrets}
signing=${SIGNING:-/run/signing}

fail() {
  echo "makeproject: $1" >&2
  exit 1
}

if [ -e "$made/.built_$PROJECT" ]; then
  echo "makeproject: $PROJECT is there already"
  exit 0
fi

# Keys of this installation instead of those that everybody can read in the published image.
crypt_prog=$(command -v crypt_prog || true)
for place in "$PROJECT_ROOT/bin/crypt_prog" "$PROJECT_ROOT.orig/bin/crypt_prog" /usr/local/boinc/lib/crypt_prog; do
  [ -n "$crypt_prog" ] || [ ! -x "$place" ] || crypt_prog=$place
done
[ -n "$crypt_prog" ] || fail "crypt_prog is not in this image: is $PROJECT_ROOT that of BOINC's image?"
mkdir -p "$secrets/keys"
make_key() {
  [ ! -s "$2" ] || return 0
  "$crypt_prog" -genkey 1024 "$1.part" "$2.part" > /dev/null
  chmod 0440 "$1.part"
  mv "$1.part" "$1"
  mv "$2.part" "$2"
}
make_key "$secrets/keys/upload_private" "$secrets/keys/upload_public"
# The signing key never comes near the server that it protects volunteers from: a volume of its own, to be carried away.
make_key "$signing/code_sign_private" "$secrets/keys/code_sign_public"

# BOINC's script creates the database when it gets in as root without being asked: this file lets it, with a password.
. "$secrets/secrets.env"
(
  umask 077
  printf '[client]\nuser=root\npassword=%s\nhost=%s\n' "$DB_PASSWD" "${MYSQL_HOST:-mysql}" > "$HOME/.my.cnf"
)

# An earlier first start may have been killed in the middle. Its database holds nothing yet, or we stop.
hosts=$(mysql --batch --skip-column-names -e "SELECT COUNT(*) FROM $PROJECT.host" 2> /dev/null || echo none)
case $hosts in
  none | 0) mysql -e "DROP DATABASE IF EXISTS $PROJECT" ;;
  *) fail "the database knows $hosts computers, but the volume 'project' is empty: restore it (server/restore.sh), or remove both" ;;
esac
if [ -d "$PROJECT_ROOT.orig" ]; then
  [ ! -L "$PROJECT_ROOT" ] || rm "$PROJECT_ROOT"
  [ -e "$PROJECT_ROOT" ] || mv "$PROJECT_ROOT.orig" "$PROJECT_ROOT"
fi
exec makeproject-step2.sh
