# Sourced by backup.sh and restore.sh. `territoire` runs a command of ours in a container of our image, which has no
# PostgreSQL: pg_dump and pg_restore are those of the database's container, whatever its version, asked for by pipes.
export COMPOSE_PROGRESS=quiet
compose() { docker compose -f "$here/compose.yaml" "$@"; }
pipes="$(mktemp -d "${TMPDIR:-/var/tmp}/territoire.XXXXXX")"
mkfifo "$pipes/asked" "$pipes/in" "$pipes/out" "$pipes/status"
while read -r asked <"$pipes/asked"; do
    ended=0
    compose exec -T database sh -c "PGUSER=\"\$POSTGRES_USER\" PGDATABASE=\"\$POSTGRES_DB\" exec $asked" \
        <"$pipes/in" >"$pipes/out" 2>"$pipes/errors" || ended=$?
    echo "$ended" >"$pipes/status"
done &
serving=$!
trap 'kill "$serving" 2>/dev/null || true; rm -rf "$pipes"' EXIT
trap 'exit 130' INT TERM
territoire() {
    compose run --rm --no-deps -T -v "$pipes:$pipes" -e "TERRITOIRE_POSTGRES_PROGRAMS=$pipes" "$@" </dev/null
}
