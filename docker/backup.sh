#!/bin/bash
# Saves the stack while it runs: both databases, every artifact, and the workers' state folder.
#
#   docker compose --profile tools run --rm backup
#
# The backup is a folder of CFT_BACKUPS. It gets its name when it is complete and all that was read
# is on the disk; whatever ends before leaves a folder *.partial that the next backup removes.
# Where things are is said by the variables of the service `backup` in compose.yaml.
set -euo pipefail
umask 077

: "${CFT_BACKUPS:?}" "${CFT_HOME:?}" "${CFT_BUCKET:?}" "${MLFLOW_S3_ENDPOINT_URL:?}"
: "${CFT_PREFECT_DATABASE:?}" "${CFT_MLFLOW_DATABASE:?}"
: "${CFT_PREFECT_DATABASE_PASSWORD:?}" "${CFT_MLFLOW_DATABASE_PASSWORD:?}"
here=$(cd "$(dirname "$0")" && pwd)
python=${CFT_PYTHON:-python}

mkdir -p "$CFT_BACKUPS"
exec 9> "$CFT_BACKUPS/.lock"
flock --nonblock 9 || { echo "backup: another one is at work in $CFT_BACKUPS" >&2; exit 1; }
rm -rf "$CFT_BACKUPS"/*.partial
name=cft-$(date -u +%Y%m%dT%H%M%SZ)
[ ! -e "$CFT_BACKUPS/$name" ] || { echo "backup: $CFT_BACKUPS/$name is there" >&2; exit 1; }
partial=$CFT_BACKUPS/$name.partial
mkdir "$partial"

# The databases come first: an artifact is written once and before long, so the bucket that is read
# after them holds all that they refer to, and at worst something more.
PGPASSWORD=$CFT_PREFECT_DATABASE_PASSWORD \
  pg_dump --format custom --no-owner --file "$partial/prefect.dump" "$CFT_PREFECT_DATABASE"
PGPASSWORD=$CFT_MLFLOW_DATABASE_PASSWORD \
  pg_dump --format custom --no-owner --file "$partial/mlflow.dump" "$CFT_MLFLOW_DATABASE"
server=$(PGPASSWORD=$CFT_MLFLOW_DATABASE_PASSWORD \
  psql --no-psqlrc -XAtc 'SHOW server_version' "$CFT_MLFLOW_DATABASE")
objects=$("$python" "$here/objects.py" save "$partial/objects.tar")

# Without what is made again by itself, and what belongs to processes of this moment.
status=0
tar --create --file "$partial/home.tar" --directory "$CFT_HOME" \
  --exclude=./prefect --exclude=./embeddings --exclude=./slots --exclude=./cache \
  --exclude=./.restoring . || status=$?
# 1: a file grew while it was read, as a running training's do. Its retry goes on from a checkpoint
# that it has verified, so that is no reason to have no backup.
[ "$status" -le 1 ] || { echo "backup: $CFT_HOME could not be saved" >&2; exit 1; }

"$python" "$here/manifest.py" write "$partial" "postgresql=$server" "objects=$objects"
sync --file-system "$partial"
mv "$partial" "$CFT_BACKUPS/$name"
echo "$CFT_BACKUPS/$name"
