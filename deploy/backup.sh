#!/bin/sh
# One backup of compose.yaml's database, while everything runs; the newest 14 are kept. `territoire backup` makes it.
#   ./backup.sh /var/backups/territoire [14]
# It is encrypted for BACKUP_RECIPIENTS of .env: public keys of age-keygen (age1...), whose private key stays elsewhere;
# BACKUP_PLAIN=true there leaves it in the clear. Beside it go what it contains, counted, which a restore is compared
# with, and the ledger of erasures: keep both with the backups.
# The key-encryption key (KEK in .env) is not in it, and without that no device's key can be read: keep it elsewhere.
set -eu
umask 077
here="$(cd "$(dirname "$0")" && pwd)"
: "${1:?backup.sh DOSSIER [COMBIEN]}"
mkdir -p "$1"
folder="$(cd "$1" && pwd)"
. "$here/programs.sh"
territoire -v "$folder:$folder" operator backup "$folder" --keep "${2:-14}"
# Of backups that the script of before has made.
for sum in "$folder"/territoire-*.sha256; do
    [ ! -e "$sum" ] || [ -e "${sum%.sha256}" ] || rm "$sum"
done
