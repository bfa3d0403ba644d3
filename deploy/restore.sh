#!/bin/sh
# A backup into an empty database of compose.yaml; the services must be stopped, and the `.env` of then be here.
#   ./restore.sh /var/backups/territoire/territoire-2026-11-25T021500.dump
# One that ends in .age is decrypted before, where its private key is: age -d -i cle.txt FILE.dump.age > FILE.dump
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
file="${1:?restore.sh FICHIER}"
in_database() { docker compose -f "$here/compose.yaml" exec -T database sh -c "$1"; }
sql() { in_database 'exec psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -qAt -v ON_ERROR_STOP=1 -f -'; }

case "$file" in
*.age)
    echo "restore.sh : $file est chiffrée ; d'abord, là où est la clé privée : age -d -i cle.txt $file > ${file%.age}" >&2
    exit 2
    ;;
esac
ledger="$(dirname "$file")/effacements.jsonl"
if [ ! -e "$ledger" ] && [ "${WITHOUT_LEDGER:-}" != true ]; then
    echo "restore.sh : $ledger manque : sans le registre des effacements, ce qui a été effacé depuis reviendrait (WITHOUT_LEDGER=true passe outre)" >&2
    exit 2
fi
[ ! -e "$file.sha256" ] || (cd "$(dirname "$file")" && sha256sum --quiet --check "$(basename "$file").sha256")
filled="$(echo "SELECT to_regclass('public.tenant') IS NOT NULL" | sql)"
if [ "$filled" != f ]; then
    echo "restore.sh : cette base n'est pas vide. « docker compose down », puis « docker volume rm territoire_database »" >&2
    exit 1
fi
# Roles belong to the server and are in no dump; their passwords are set by the migration.
sql <<'SQL'
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['territoire_service', 'territoire_views', 'territoire_all_tenants', 'territoire_as_tenant',
                                'territoire_gateway_bridge', 'territoire_network', 'territoire_intake',
                                'territoire_ingest', 'territoire_alerting', 'territoire_lighting',
                                'territoire_maintenance', 'territoire_indicators', 'territoire_api'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I', role)
                || CASE WHEN role IN ('territoire_service', 'territoire_views', 'territoire_all_tenants', 'territoire_as_tenant') THEN '' ELSE ' LOGIN' END;
        END IF;
    END LOOP;
END
$$;
CREATE EXTENSION IF NOT EXISTS timescaledb;
SELECT timescaledb_pre_restore();
SQL
if [ "$(echo 'SHOW timescaledb.license' | sql)" = apache ] &&
    in_database 'exec pg_restore -l' <"$file" | grep -q 'TABLE DATA _timescaledb_internal compress_hyper_.*_chunk'; then
    echo "restore.sh : rien n'est restauré : des mesures y sont compressées, et cette base a l'édition Apache de TimescaleDB, qui ne peut pas les lire. DATABASE_IMAGE=timescale/timescaledb:2.19.3-pg17 dans .env, base et volume neufs, puis relancez ; docs/serveur.md dit comment décompresser" >&2
    exit 1
fi
in_database 'exec pg_restore -U "$POSTGRES_USER" -d "$POSTGRES_DB" --exit-on-error' <"$file"
# Devices refuse a counter that goes back, and what was sent after the backup is not in it.
sql <<'SQL'
SELECT timescaledb_post_restore();
BEGIN;
UPDATE session SET f_cnt_down = f_cnt_down + 4096 WHERE closed_at IS NULL;
UPDATE multicast_group SET f_cnt = f_cnt + 4096;
UPDATE join_nonce SET last_join_nonce = least(last_join_nonce + 4096, 16777215);
COMMIT;
ANALYZE;
SQL
echo "Restauré : $(echo "SELECT (SELECT count(*) FROM device) || ' équipements, ' || (SELECT count(*) FROM observation.measurement) || ' mesures'" | sql)."
if [ -s "$ledger" ]; then
    echo "Puis, avant de démarrer, ce qui a été effacé depuis s'efface à nouveau :"
    echo "  docker compose run --rm migrate"
    echo "  docker compose run --rm -v $ledger:/effacements.jsonl:ro -e TERRITOIRE_DATABASE_URL=postgresql://territoire:\$OWNER_PASSWORD@database:5432/territoire maintenance cli person again /effacements.jsonl"
fi
echo "Démarrez : docker compose up -d"
