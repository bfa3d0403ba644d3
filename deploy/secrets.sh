#!/bin/sh
# Makes, once, every secret of compose.yaml: `.env`, an authority of our own, the broker's certificate and accounts.
# Nothing that exists is replaced, but by `renew`. The key-encryption key (KEK in .env) opens the devices' keys: keep a
# copy elsewhere. Accounts of gateways and partners are the API's to make and withdraw (docs/passerelles.md).
set -eu
cd "$(dirname "$0")"
umask 077

usage() {
    cat <<END
sudo ./secrets.sh [NOM]             fait ce qui manque ; NOM : celui par lequel les passerelles joignent le courtier
sudo ./secrets.sh list              les secrets : qui s'en sert, depuis quand, comment les renouveler ; aucune valeur
sudo ./secrets.sh renew SECRET...   tire une nouvelle valeur de ceux-là
sudo ./secrets.sh renew --all       tire une nouvelle valeur de tous ceux de la base, du bus et du courtier

Les nouvelles valeurs servent à partir de « docker compose up -d » ; d'ici là tout continue avec les anciennes.
Interrompue, la commande n'a rien changé, ou la suivante la finit. Page : docs/serveur.md, « Renouveler un secret ».
END
}

services="gateway-bridge network intake ingest alerting lighting maintenance indicators api"
renewable=database-owner
for service in $services; do renewable="$renewable database-$service"; done
renewable="$renewable bus-owner"
for service in $services; do renewable="$renewable bus-$service"; done
renewable="$renewable mqtt-bridge mqtt-accounts"

fail() {
    echo "secrets.sh : $1" >&2
    exit "$2"
}
random() { openssl rand -hex "$1"; }
value() { sed -n "s/^$1=//p" "$2"; }
this_host() { hostname -f 2>/dev/null || hostname; }
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
has() { case " $1 " in *" $2 "*) ;; *) return 1 ;; esac }

# The variable of `.env` for one of $renewable.
variable() {
    case "$1" in
    database-owner) echo OWNER_PASSWORD ;;
    bus-owner) echo NATS_PASSWORD ;;
    mqtt-bridge) echo MQTT_PASSWORD ;;
    mqtt-accounts) echo MQTT_ACCOUNTS_PASSWORD ;;
    *) echo "${1#*-}_${1%%-*}" | tr a-z- A-Z_ ;;
    esac
}

# The broker's account for a name and a password, in mosquitto's own form: PBKDF2 with SHA-512.
account() {
    PASSWORD="$2" python3 - "$1" <<'END'
import base64, hashlib, os, sys
salt = os.urandom(12)
digest = hashlib.pbkdf2_hmac("sha512", os.environ["PASSWORD"].encode(), salt, 101)
print(f"{sys.argv[1]}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}")
END
}

require_root() {
    [ "$(id -u)" -eq 0 ] || fail "à lancer par root (sudo), les conteneurs ne liraient pas ces fichiers" 1
}

# mosquitto is user 1883 in its container, the bridge 10001 in ours; only root can hand files to them.
owned() {
    require_root
    chown -R 1883:1883 secrets/broker
    chown 10001:10001 secrets/ca.crt
}

# The lines of secrets/since, with this instant for these names.
since_now() {
    while read -r known instant; do has "$*" "$known" || echo "$known $instant"; done <secrets/since
    for known; do echo "$known $(now)"; done
}

make_missing() {
    made=
    if [ ! -e .env ]; then
        cat >.env.part <<END
OWNER_PASSWORD=$(random 24)
NATS_PASSWORD=$(random 24)
MQTT_PASSWORD=$(random 24)
MQTT_ACCOUNTS_PASSWORD=$(random 24)
KEK=$(random 32)
OPERATOR_KEY=terr_$(random 6)_$(random 32)
PUBLIC_URL=http://127.0.0.1:8080
SHARED_BUFFERS=1GB
LOG_LEVEL=INFO
END
        mv .env.part .env
        made="database-owner bus-owner mqtt-bridge mqtt-accounts kek"
        echo ".env écrit : la clé de l'opérateur est OPERATOR_KEY"
    fi
    # A `.env` of before is given what it lacks: an account that makes those of gateways, and each service's own login
    # to the database and to the bus.
    for secret in $renewable; do
        grep -q "^$(variable "$secret")=" .env && continue
        echo "$(variable "$secret")=$(random 24)" >>.env
        made="$made $secret"
    done
    mkdir -p secrets/broker
    touch secrets/since
    # shellcheck disable=SC2086
    since_now $made >secrets/since.part
    mv secrets/since.part secrets/since
    if [ ! -e secrets/ca.key ]; then
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=Territoire" \
            -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
            -keyout secrets/ca.key -out secrets/ca.crt 2>/dev/null
    fi
    # To renew it: remove tls.crt, run this again, and `docker compose kill -s HUP mosquitto`.
    if [ ! -e secrets/broker/tls.crt ]; then
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
            -keyout secrets/broker/tls.key -out secrets/tls.csr 2>/dev/null
        printf 'subjectAltName=DNS:mosquitto,DNS:localhost,DNS:%s\n' "$1" >secrets/names
        openssl x509 -req -in secrets/tls.csr -CA secrets/ca.crt -CAkey secrets/ca.key -CAcreateserial -days 825 \
            -extfile secrets/names -out secrets/broker/tls.crt 2>/dev/null
        rm secrets/tls.csr secrets/names
        echo "secrets/ : certificat de $1 pour 825 jours, signé par secrets/ca.crt (à donner aux passerelles)"
    fi
    # Lines of gateways in a file of before stay: those accounts go on until they are taken out by hand.
    touch secrets/broker/passwords
    for user in bridge accounts; do
        grep -q "^$user:" secrets/broker/passwords && continue
        account "$user" "$(value "$(variable "mqtt-$user")" .env)" >>secrets/broker/passwords
    done
    owned
}

require_made() {
    [ -e .env ] || fail "aucun secret ici : sudo ./secrets.sh [NOM] les fait" 3
    [ -r .env ] || require_root
}

require_renewable() {
    [ $# -gt 0 ] || fail "attendu des secrets de la liste (sudo ./secrets.sh list), ou --all" 2
    for secret; do
        has "$renewable" "$secret" && continue
        case "$secret" in
        kek) fail "kek ne se renouvelle pas ainsi : docs/serveur.md, « Les clés de chiffrement »" 2 ;;
        operator-key) fail "operator-key ne se renouvelle pas ainsi : dans la console, Clés" 2 ;;
        mqtt-certificate) fail "mqtt-certificate ne se renouvelle pas ainsi : docs/serveur.md, « Renouveler un secret »" 2 ;;
        esac
        # shellcheck disable=SC2086
        near="$(python3 -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1], sys.argv[2:], 1))' \
            "$secret" $renewable)"
        fail "$secret n'est pas un secret d'ici${near:+ ; est-ce $near ?} (sudo ./secrets.sh list)" 2
    done
}

# Every file of a renewal is whole before the first takes its place. `.env.next` is the last to be made and the last to
# go: while it is there the renewal is to be finished, without it nothing was renewed.
finish_renewal() {
    if [ -e .env.next ]; then
        [ ! -e secrets/passwords.next ] || mv secrets/passwords.next secrets/broker/passwords
        [ ! -e secrets/since.next ] || mv secrets/since.next secrets/since
        mv .env.next .env
        sync .
    fi
    rm -f .env.part secrets/*.part secrets/*.next
}

renew() {
    variables="$(for secret; do variable "$secret"; done | tr '\n' ' ')"
    while IFS= read -r line || [ -n "$line" ]; do
        if has "$variables" "${line%%=*}"; then line="${line%%=*}=$(random 24)"; fi
        printf '%s\n' "$line"
    done <.env >.env.part
    while IFS= read -r line || [ -n "$line" ]; do
        user="${line%%:*}"
        if has "$*" "mqtt-$user"; then
            account "$user" "$(value "$(variable "mqtt-$user")" .env.part)"
        else
            printf '%s\n' "$line"
        fi
    done <secrets/broker/passwords >secrets/passwords.next
    since_now "$@" >secrets/since.next
    chown 1883:1883 secrets/passwords.next
    chown --reference=.env .env.part
    chmod --reference=.env .env.part
    sync .env.part secrets/passwords.next secrets/since.next
    mv .env.part .env.next
    finish_renewal
}

# As ./territoire secrets renew writes it; the variables are the container's.
# shellcheck disable=SC2016
write_audit() {
    for secret; do
        echo "INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)"
        echo "VALUES (NULL, '$(id -un) (serveur)', 'rotate', 'secret', '$secret', '{}');"
    done | docker compose exec -T database sh -c \
        'exec psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -q -v ON_ERROR_STOP=1 --single-transaction -f -' >/dev/null 2>&1
}

say_renewed() {
    echo "Renouvelés : $*."
    write_audit "$@" || echo "La base ne répond pas : l'audit n'a pas cette ligne."
    echo "Tout continue avec les anciennes valeurs jusqu'à :"
    case " $*" in
    *" mqtt-"*) echo "    sudo docker compose kill -s HUP mosquitto && sudo docker compose up -d" ;;
    *) echo "    sudo docker compose up -d" ;;
    esac
}

row() { printf '%-24s %-16s %-22s %s\n' "$1" "$2" "${3:-inconnu}" "$4"; }

list() {
    row secret "qui s'en sert" depuis "pour le renouveler"
    for secret in $renewable; do
        case "$secret" in
        database-owner | bus-owner) user=migrate ;;
        mqtt-bridge) user=gateway-bridge ;;
        mqtt-accounts) user=intake ;;
        *) user="${secret#*-}" ;;
        esac
        row "$secret" "$user" "$(sed -n "s/^$secret //p" secrets/since 2>/dev/null)" "sudo ./secrets.sh renew"
    done
    row kek "six services" "$(sed -n 's/^kek //p' secrets/since 2>/dev/null)" \
        "docs/serveur.md, « Les clés de chiffrement »"
    row operator-key "l'exploitant" "" "dans la console : Clés"
    began="$(openssl x509 -in secrets/broker/tls.crt -noout -startdate | cut -d= -f2)"
    row mqtt-certificate mosquitto "$(date -u -d "$began" +%Y-%m-%dT%H:%M:%SZ)" \
        "docs/serveur.md, « Renouveler un secret »"
}

case "${1:-}" in
-h | --help) usage ;;
-*) fail "le compte d'une passerelle se fait par l'API, POST /v1/gateways/{EUI}/mqtt-accounts" 2 ;;
list)
    require_made
    list
    ;;
renew)
    shift
    require_made
    # shellcheck disable=SC2086
    [ "$*" != --all ] || set -- $renewable
    require_renewable "$@"
    require_root
    finish_renewal
    make_missing "$(this_host)"
    renew "$@"
    say_renewed "$@"
    ;;
*)
    finish_renewal
    make_missing "${1:-$(this_host)}"
    ;;
esac
