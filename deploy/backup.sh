#!/bin/sh
# One backup of compose.yaml's database, while everything runs; the newest 14 are kept.
#   ./backup.sh /var/backups/territoire [14]
# The key-encryption key (KEK in .env) is not in it, and without that no device's key can be read: keep it elsewhere.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
folder="${1:?backup.sh DOSSIER [COMBIEN]}"
keep="${2:-14}"
umask 077
mkdir -p "$folder"
file="$folder/territoire-$(date -u +%Y-%m-%dT%H%M%S).dump"
trap 'rm -f "$file.part"' EXIT
# One snapshot, whatever is written meanwhile. The variables are the container's.
docker compose -f "$here/compose.yaml" exec -T database \
    sh -c 'exec pg_dump -U "$POSTGRES_USER" -d "$POSTGRES_DB" --format=custom --compress=6' >"$file.part"
[ -s "$file.part" ]
sync "$file.part"
mv "$file.part" "$file"
(cd "$folder" && sha256sum "$(basename "$file")" >"$(basename "$file").sha256")
find "$folder" -maxdepth 1 -name 'territoire-????-??-??T??????.dump' | sort -r | tail -n "+$((keep + 1))" |
    while read -r old; do rm -f "$old" "$old.sha256"; done
echo "$file : $(du -h "$file" | cut -f1)"
