#!/bin/bash
# Runs once, on an empty cluster: a database and its owner for each of the three parts. Passwords come from the environment.
set -euo pipefail

make_database() {
    psql --set ON_ERROR_STOP=1 --set name="$1" --set password="$2" --username postgres --dbname postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

make_database rounds "${ROUNDS_DATABASE_PASSWORD:?}"
make_database labelstudio "${LABELSTUDIO_DATABASE_PASSWORD:?}"
make_database prefect "${PREFECT_DATABASE_PASSWORD:?}"
for database in labelstudio prefect; do
    psql --set ON_ERROR_STOP=1 --username postgres --dbname "$database" --command 'CREATE EXTENSION IF NOT EXISTS pg_trgm'
done
