#!/bin/sh
# Makes, once, every secret of compose.yaml: `.env`, an authority of our own, the broker's certificate and accounts.
# Nothing that exists is replaced. The key-encryption key (KEK in .env) opens the devices' keys: keep a copy elsewhere.
set -eu
cd "$(dirname "$0")"
umask 077
name="${1:-$(hostname -f 2>/dev/null || hostname)}"

random() { openssl rand -hex "$1"; }

if [ ! -e .env ]; then
    cat >.env <<END
OWNER_PASSWORD=$(random 24)
SERVICE_PASSWORD=$(random 24)
API_PASSWORD=$(random 24)
NATS_PASSWORD=$(random 24)
MQTT_PASSWORD=$(random 24)
KEK=$(random 32)
OPERATOR_KEY=terr_$(random 6)_$(random 32)
PUBLIC_URL=http://127.0.0.1:8080
SHARED_BUFFERS=1GB
LOG_LEVEL=INFO
END
    echo ".env écrit : la clé de l'opérateur est OPERATOR_KEY"
fi

mkdir -p secrets
if [ ! -e secrets/tls.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=Territoire" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout secrets/ca.key -out secrets/ca.crt 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
        -keyout secrets/tls.key -out secrets/tls.csr 2>/dev/null
    printf 'subjectAltName=DNS:mosquitto,DNS:localhost,DNS:%s\n' "$name" >secrets/names
    openssl x509 -req -in secrets/tls.csr -CA secrets/ca.crt -CAkey secrets/ca.key -CAcreateserial -days 825 \
        -extfile secrets/names -out secrets/tls.crt 2>/dev/null
    rm secrets/tls.csr secrets/names
    echo "secrets/ : certificat de $name, signé par secrets/ca.crt (à donner aux passerelles)"
fi

if [ ! -e secrets/passwords ]; then
    : >secrets/passwords
    # mosquitto's own form, PBKDF2 with SHA-512.
    . ./.env
    python3 - "$MQTT_PASSWORD" >>secrets/passwords <<'END'
import base64, hashlib, os, sys
salt = os.urandom(12)
digest = hashlib.pbkdf2_hmac("sha512", sys.argv[1].encode(), salt, 101)
print(f"bridge:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}")
END
    echo "secrets/passwords : une passerelle de plus par « mosquitto_passwd -b secrets/passwords EUI MOT_DE_PASSE »"
fi
# The processes in the containers are user 10001.
[ "$(id -u)" -ne 0 ] || chown 10001:10001 secrets/passwords secrets/tls.crt secrets/tls.key secrets/ca.crt
