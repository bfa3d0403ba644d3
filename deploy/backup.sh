#!/bin/sh
# One backup of compose.yaml's database, while everything runs; the newest 14 are kept.
#   ./backup.sh /var/backups/territoire [14]
# It is encrypted for BACKUP_RECIPIENTS of .env: public keys of age-keygen (age1...), whose private key stays elsewhere;
# BACKUP_PLAIN=true there leaves it in the clear. Beside it goes the ledger of erasures: keep it with the backups.
# The key-encryption key (KEK in .env) is not in it, and without that no device's key can be read: keep it elsewhere.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
folder="${1:?backup.sh DOSSIER [COMBIEN]}"
keep="${2:-14}"
umask 077
mkdir -p "$folder"
setting() { eval "echo \"\${$1:-}\"" | grep . || sed -n "s/^$1=//p" "$here/.env" 2>/dev/null || true; }
recipients="$(setting BACKUP_RECIPIENTS | tr ',' ' ')"
plain="$(setting BACKUP_PLAIN)"
if [ -z "$recipients" ] && [ "$plain" != true ]; then
    if ls "$folder"/territoire-*.dump >/dev/null 2>&1 && ! ls "$folder"/territoire-*.dump.age >/dev/null 2>&1; then
        echo "backup.sh : en clair, comme celles d'avant : mettez BACKUP_RECIPIENTS=age1… dans .env (ou BACKUP_PLAIN=true)" >&2
    else
        echo "backup.sh : une sauvegarde se chiffre : BACKUP_RECIPIENTS=age1… dans .env (age-keygen, sur une autre machine), ou BACKUP_PLAIN=true" >&2
        exit 2
    fi
fi
suffix=
[ "$plain" = true ] || [ -z "$recipients" ] || suffix=.age
file="$folder/territoire-$(date -u +%Y-%m-%dT%H%M%S).dump$suffix"
trap 'rm -f "$file.part" "$file.failed"' EXIT
# One snapshot, whatever is written meanwhile. The variables are the container's.
dump() {
    docker compose -f "$here/compose.yaml" exec -T database \
        sh -c 'exec pg_dump -U "$POSTGRES_USER" -d "$POSTGRES_DB" --format=custom --compress=6 --exclude-table-data=export_part' || touch "$file.failed"
}
if [ -n "$suffix" ]; then
    # shellcheck disable=SC2086
    dump | docker compose -f "$here/compose.yaml" exec -T maintenance "${PYTHON:-/opt/territoire/bin/python}" -P -m cli.encryption encrypt $recipients >"$file.part"
else
    dump >"$file.part"
fi
[ ! -e "$file.failed" ]
[ -s "$file.part" ]
sync "$file.part"
mv "$file.part" "$file"
(cd "$folder" && sha256sum "$(basename "$file")" >"$(basename "$file").sha256")
# What was erased so far, by keyed digests: `person again` of a restored database reads it.
ledger="$folder/effacements.jsonl"
touch "$ledger"
docker compose -f "$here/compose.yaml" exec -T database sh -c 'exec psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -qAt -v ON_ERROR_STOP=1 -f -' >"$file.part" <<'SQL' || echo "backup.sh : le registre des effacements n'est pas complété" >&2
SELECT jsonb_build_object('at', requested_at, 'digests', (SELECT jsonb_agg(encode(d, 'hex')) FROM unnest(digests) d))
FROM erasure WHERE cardinality(digests) > 0 ORDER BY id
SQL
sort -u "$ledger" "$file.part" >"$ledger.part" && mv "$ledger.part" "$ledger"
find "$folder" -maxdepth 1 \( -name 'territoire-????-??-??T??????.dump' -o -name 'territoire-????-??-??T??????.dump.age' \) |
    sort -r | tail -n "+$((keep + 1))" | while read -r old; do rm -f "$old" "$old.sha256"; done
echo "$file : $(du -h "$file" | cut -f1)"
