#!/bin/sh
# Backs the grid up while it runs: both databases, keys and passwords, BOINC's project, results.
#
#   server/backup.sh FOLDER        makes FOLDER/<time>/
#
# The folder gets its name when everything is in it. It holds every key and password: keep it where nobody else can read.
set -eu
umask 077
here=$(pwd)
cd "$(dirname "$0")/.."

fail() {
  echo "backup: $1" >&2
  exit "${2:-1}"
}

[ $# -eq 1 ] || fail "call it with one folder: server/backup.sh FOLDER" 2
case $1 in
  /*) folder=$1 ;;
  *) folder=$here/$1 ;;
esac
mkdir -p "$folder" || fail "$1 can not be made" 2
stamp=$(date -u +%Y-%m-%dT%H%M%SZ)
part=$folder/.$stamp.part
mkdir "$part" || fail "$part can not be made" 2
trap 'rm -rf "$part"' EXIT
trap 'exit 4' INT TERM HUP

# The databases go first: what they speak of was on the disk before they did.
docker compose exec -T ledger pg_dump -U crystal_search --format=custom crystal_search > "$part/ledger.dump" \
  || fail "the ledger can not be dumped: is it running? docker compose ps"
docker compose exec -T mysql sh -c '
  tool=$(command -v mariadb-dump || command -v mysqldump)
  MYSQL_PWD=$(cat /run/secrets/mysql/root_password) exec "$tool" -h 127.0.0.1 -u root --single-transaction --routines --databases "$PROJECT"
' > "$part/boinc.sql" \
  || fail "BOINC's database can not be dumped: is it running? docker compose ps"
# Files that go away while they are read are results and work units that were dealt with: no reason to fail (tar says 1).
code=0
docker compose run --rm -T --no-deps files tar --create --file=- --directory=/ --numeric-owner --warning=no-file-changed \
  --warning=no-file-removed --exclude='*.part' secrets home/boincadm/project srv/crystal-search inbox > "$part/files.tar" || code=$?
[ "$code" -le 1 ] || fail "the files can not be read (exit code $code)"

for file in ledger.dump boinc.sql files.tar; do
  [ -s "$part/$file" ] || fail "$file is empty: nothing was kept"
done
(cd "$part" && sha256sum ledger.dump boinc.sql files.tar > SHA256SUMS)
# Kept beside them for a new computer; a restore leaves those that are there alone.
for file in .env crystal-search.toml; do
  [ ! -f "$file" ] || cp "$file" "$part/" || fail "$file can not be copied"
done
sync
mv "$part" "$folder/$stamp"
trap - EXIT
echo "backup: $folder/$stamp"
