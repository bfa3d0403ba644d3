#!/bin/sh
# Makes, once, every secret of compose.yaml: `.env`, an authority of our own, the broker's certificate and accounts.
# Nothing that exists is replaced. The key-encryption key (KEK in .env) opens the devices' keys: keep a copy elsewhere.
#   sudo ./secrets.sh mqtt.mairie.fr      the name by which gateways reach the broker
# Accounts of gateways and partners are the API's to make and withdraw (docs/passerelles.md).
set -eu
cd "$(dirname "$0")"
umask 077

random() { openssl rand -hex "$1"; }

# The broker's account for a name and a password, in mosquitto's own form: PBKDF2 with SHA-512.
account() {
    python3 - "$1" "$2" <<'END'
import base64, hashlib, os, sys
salt = os.urandom(12)
digest = hashlib.pbkdf2_hmac("sha512", sys.argv[2].encode(), salt, 101)
print(f"{sys.argv[1]}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}")
END
}

# mosquitto is user 1883 in its container, the bridge 10001 in ours; only root can hand files to them.
owned() {
    [ "$(id -u)" -eq 0 ] || { echo "secrets.sh : à lancer par root (sudo), les conteneurs ne liraient pas ces fichiers" >&2; exit 1; }
    chown -R 1883:1883 secrets/broker
    chown 10001:10001 secrets/ca.crt
}

case "${1:-}" in
-*)
    echo "secrets.sh : le compte d'une passerelle se fait par l'API, POST /v1/gateways/{EUI}/mqtt-accounts" >&2
    exit 2
    ;;
esac
name="${1:-$(hostname -f 2>/dev/null || hostname)}"

if [ ! -e .env ]; then
    cat >.env <<END
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
    echo ".env écrit : la clé de l'opérateur est OPERATOR_KEY"
fi

# A `.env` of before is given what it lacks: an account that makes those of gateways, and each service's own login to the
# database and to the bus.
grep -q "^MQTT_ACCOUNTS_PASSWORD=" .env || echo "MQTT_ACCOUNTS_PASSWORD=$(random 24)" >>.env
for service in GATEWAY_BRIDGE NETWORK INTAKE INGEST ALERTING LIGHTING MAINTENANCE INDICATORS API; do
    for server in DATABASE BUS; do
        grep -q "^${service}_$server=" .env || echo "${service}_$server=$(random 24)" >>.env
    done
done

mkdir -p secrets/broker
if [ ! -e secrets/ca.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=Territoire" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout secrets/ca.key -out secrets/ca.crt 2>/dev/null
fi
# To renew it: remove tls.crt, run this again, and `docker compose kill -s HUP mosquitto`.
if [ ! -e secrets/broker/tls.crt ]; then
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
        -keyout secrets/broker/tls.key -out secrets/tls.csr 2>/dev/null
    printf 'subjectAltName=DNS:mosquitto,DNS:localhost,DNS:%s\n' "$name" >secrets/names
    openssl x509 -req -in secrets/tls.csr -CA secrets/ca.crt -CAkey secrets/ca.key -CAcreateserial -days 825 \
        -extfile secrets/names -out secrets/broker/tls.crt 2>/dev/null
    rm secrets/tls.csr secrets/names
    echo "secrets/ : certificat de $name pour 825 jours, signé par secrets/ca.crt (à donner aux passerelles)"
fi

# Lines of gateways in a file of before stay: those accounts go on until they are taken out by hand.
touch secrets/broker/passwords
for entry in bridge=MQTT_PASSWORD accounts=MQTT_ACCOUNTS_PASSWORD; do
    grep -q "^${entry%=*}:" secrets/broker/passwords && continue
    account "${entry%=*}" "$(sed -n "s/^${entry#*=}=//p" .env)" >>secrets/broker/passwords
done
owned
