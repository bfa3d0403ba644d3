#!/bin/sh
# A backup into compose.yaml's database, which is empty or not there yet; the services must be stopped, and the `.env` of
# then be here. `territoire restore` fills it, and keeps it closed until it is whole: what was cut is begun again by the
# same command.
#   ./restore.sh /var/backups/territoire/territoire-2026-11-25T021500.dump.age /run/cle.txt
# The second is the file of the private key, of an encrypted backup. WITHOUT_LEDGER=true restores without the ledger of
# erasures, WITHOUT_KEYS=true though KEK opens no key of a device.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
absolute() { echo "$(cd "$(dirname "$1")" && pwd)/$(basename "$1")"; }
file="$(absolute "${1:?restore.sh FICHIER [CLE]}")"
identity="${2:+$(absolute "$2")}"
folder="$(dirname "$file")"
set -- operator restore "$file"
if [ -n "$identity" ]; then
    set -- -v "$identity:$identity:ro" "$@" --identity "$identity"
fi
[ "${WITHOUT_LEDGER:-}" != true ] || set -- "$@" --without-ledger
[ "${WITHOUT_KEYS:-}" != true ] || set -- "$@" --without-keys
. "$here/programs.sh"
territoire -v "$folder:$folder:ro" "$@"
echo "Puis le bus, qui est celui de la base d'avant, et les services : docker compose rm -sf nats && docker volume rm territoire_nats && docker compose up -d"
