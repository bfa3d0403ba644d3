#!/bin/sh
# Starts the database of compose.yaml: its owner has the password of `.env`, which the image sets in an empty volume only.
# PostgreSQL is alone on its files while it is set, and reads it from its input: everybody sees command lines. Where that
# fails the server starts all the same, and migrate says that it is not let in.
set -eu
data="${PGDATA:-/var/lib/postgresql/data}"
if [ -s "$data/PG_VERSION" ]; then
    quoted="$(printf '%s' "$POSTGRES_PASSWORD" | sed "s/'/''/g")"
    printf "ALTER ROLE \"%s\" PASSWORD '%s'\n" "$POSTGRES_USER" "$quoted" |
        postgres --single -D "$data" -c exit_on_error=on -c log_min_error_statement=panic -c log_statement=none \
            -c shared_preload_libraries= "$POSTGRES_DB" >/dev/null || echo "database.sh: the owner's password is not set" >&2
fi
exec docker-entrypoint.sh "$@"
