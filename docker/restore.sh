#!/bin/bash
# Brings a backup back: both databases, every artifact, and the workers' state folder.
#
#   docker compose --profile tools run --rm restore BACKUP [--force]
#
# BACKUP is a folder of CFT_BACKUPS, or a path. Nothing is touched unless every file is what was
# saved, no server or worker uses the databases, and all three places are empty; --force empties
# them. Each database is replaced in one transaction.
set -euo pipefail
umask 077

: "${CFT_BACKUPS:?}" "${CFT_HOME:?}" "${CFT_BUCKET:?}" "${MLFLOW_S3_ENDPOINT_URL:?}"
: "${CFT_PREFECT_DATABASE:?}" "${CFT_MLFLOW_DATABASE:?}"
: "${CFT_PREFECT_DATABASE_PASSWORD:?}" "${CFT_MLFLOW_DATABASE_PASSWORD:?}"
here=$(cd "$(dirname "$0")" && pwd)
python=${CFT_PYTHON:-python}

refuse() {
  echo "restore: $*" >&2
  exit 1
}

force='' backup=''
for word in "$@"; do
  case $word in
    --force) force=yes ;;
    -*) refuse "$word: unknown; restore BACKUP [--force]" ;;
    *) [ -z "$backup" ] || refuse "one backup, not two: $backup, $word"; backup=$word ;;
  esac
done
[ -n "$backup" ] || refuse "which? $(find "$CFT_BACKUPS" -maxdepth 1 -name 'cft-*Z' -printf '%f ')"
[ -d "$backup" ] || backup=$CFT_BACKUPS/$backup
[ -d "$backup" ] || refuse "$backup: no such folder"
case $backup in *.partial | *.partial/) refuse "$backup: was never completed" ;; esac
"$python" "$here/manifest.py" check "$backup" || refuse "$backup: damaged, nothing was touched"

in_prefect() { PGPASSWORD=$CFT_PREFECT_DATABASE_PASSWORD "$@" "$CFT_PREFECT_DATABASE"; }
in_mlflow() { PGPASSWORD=$CFT_MLFLOW_DATABASE_PASSWORD "$@" "$CFT_MLFLOW_DATABASE"; }
ask=(psql --no-psqlrc -XAt -v ON_ERROR_STOP=1)
others="SELECT count(*) FROM pg_stat_activity
  WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
tables="SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"

for one in prefect mlflow; do
  busy=$("in_$one" "${ask[@]}" -c "$others")
  [ "$busy" = 0 ] || refuse "the database $one is in use ($busy connections): stop prefect-server, \
prefect-services and mlflow first"
done

mkdir -p "$CFT_HOME"
if [ -z "$force" ]; then
  for one in prefect mlflow; do
    [ "$("in_$one" "${ask[@]}" -c "$tables")" = 0 ] ||
      refuse "the database $one is not empty; --force replaces what is there"
  done
  [ "$("$python" "$here/objects.py" count)" = 0 ] ||
    refuse "the bucket $CFT_BUCKET is not empty; --force replaces what is there"
  [ -z "$(find "$CFT_HOME" -mindepth 1 -print -quit)" ] ||
    refuse "$CFT_HOME is not empty; --force replaces what is there"
fi

# The state folder is unpacked in full before anything old goes. It is the mount itself in a
# container, so its entries are exchanged, not the folder.
scratch=$CFT_HOME/.restoring
trap 'rm -rf "$scratch"' EXIT
rm -rf "$scratch"
mkdir -p "$scratch/home" "$scratch/sql"
tar --extract --file "$backup/home.tar" --directory "$scratch/home" --no-same-owner

# As one file that is complete before it is run: psql would commit half of a pipe that broke.
for one in prefect mlflow; do
  {
    echo 'DROP SCHEMA public CASCADE;'
    echo 'CREATE SCHEMA public AUTHORIZATION pg_database_owner;'
    echo 'GRANT USAGE ON SCHEMA public TO PUBLIC;'
  } > "$scratch/sql/$one.sql"
  pg_restore --no-owner --no-privileges --file - "$backup/$one.dump" >> "$scratch/sql/$one.sql"
done
for one in prefect mlflow; do
  "in_$one" "${ask[@]}" --quiet --single-transaction --file "$scratch/sql/$one.sql" > /dev/null
done

[ -z "$force" ] || "$python" "$here/objects.py" empty > /dev/null
objects=$("$python" "$here/objects.py" load "$backup/objects.tar")

find "$CFT_HOME" -mindepth 1 -maxdepth 1 ! -name .restoring -exec rm -rf {} +
find "$scratch/home" -mindepth 1 -maxdepth 1 -exec mv --target-directory "$CFT_HOME" {} +
echo "restored $backup: both databases, $objects objects, $CFT_HOME"
