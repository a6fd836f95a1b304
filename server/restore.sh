#!/bin/sh
# Puts a backup of server/backup.sh in place of what is there now.
#
#   server/restore.sh FOLDER/<time>          says what it would do
#   server/restore.sh FOLDER/<time> --yes    does it
#
# It can be called again after it was interrupted. Volunteers notice nothing but that results returned since the backup are unknown.
set -eu
here=$(pwd)
cd "$(dirname "$0")/.."

fail() {
  echo "restore: $1" >&2
  exit "${2:-1}"
}

[ $# -ge 1 ] && [ $# -le 2 ] && [ "${2:---yes}" = --yes ] || fail "call it with a backup's folder, and --yes to do it" 2
case $1 in
  /*) backup=$1 ;;
  *) backup=$here/$1 ;;
esac
for file in SHA256SUMS ledger.dump boinc.sql files.tar; do
  [ -s "$backup/$file" ] || fail "$1: no whole backup, $file is missing" 2
done
(cd "$backup" && sha256sum --quiet --strict -c SHA256SUMS) || fail "$1: damaged, a file is not what was backed up; nothing was changed"
if [ "${2:-}" != --yes ]; then
  echo "restore: $1 is whole. With --yes all services are stopped, and databases, keys, BOINC's project and results are replaced by it."
  exit 0
fi

docker compose --profile '*' down || fail "the services can not be stopped"
docker compose run --rm -T --no-deps files sh -c '
  # a database keeps its password with its data: both are made anew, with the passwords of the backup
  for folder in /databases/* /secrets/* /home/boincadm/project /srv/crystal-search /srv/crystal-search/work_units /inbox; do
    find "$folder" -mindepth 1 ! -path /srv/crystal-search/work_units -delete || exit 1
  done
  exec tar --extract --file=- --directory=/ --numeric-owner --preserve-permissions
' < "$backup/files.tar" || fail "the files can not be put back; call restore again"
docker compose up --detach --wait --no-deps mysql ledger || fail "the databases do not start: docker compose logs mysql ledger"
docker compose exec -T ledger pg_restore -U crystal_search --dbname=crystal_search --clean --if-exists --exit-on-error --single-transaction \
  < "$backup/ledger.dump" || fail "the ledger can not be put back; call restore again"
docker compose exec -T mysql sh -c '
  tool=$(command -v mariadb || command -v mysql)
  MYSQL_PWD=$(cat /run/secrets/mysql/root_password) exec "$tool" -h 127.0.0.1 -u root
' < "$backup/boinc.sql" || fail "BOINC's database can not be put back; call restore again"
echo "restore: $1 is in place; start with: docker compose up -d"
