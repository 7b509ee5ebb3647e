#!/bin/bash
# Two databases, each with a user of its own who sees nothing of the other. PostgreSQL's image runs
# this once, while its data folder is still empty. After a failure here the container is started
# again and skips it: the health check asks for both databases, and README.md says what to do.
set -euo pipefail

export CFT_SECRETS_DIR=${CFT_SECRETS_DIR:-/run/secrets}
for name in prefect mlflow; do
  [ -s "$CFT_SECRETS_DIR/${name}_database_password" ] ||
    { echo "postgres-init: the secret ${name}_database_password is missing or empty" >&2; exit 1; }
done

# psql reads the passwords itself: they are in no argument, and quoted as literals. `log_statement`
# is off by default, and an error would show the statement, so that is off here as well.
for name in prefect mlflow; do
  CFT_NAME=$name psql --no-psqlrc --set ON_ERROR_STOP=1 --quiet \
    --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\set name `echo "$CFT_NAME"`
\set password `cat "$CFT_SECRETS_DIR/${CFT_NAME}_database_password"`
SET log_min_error_statement = panic;
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT, TEMPORARY ON DATABASE :"name" FROM PUBLIC;
SQL
done
