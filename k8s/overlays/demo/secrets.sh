#!/bin/sh
# The secrets of the demo, made anew at each call: once is enough. A second key-encryption key would make the devices'
# keys unreadable.
#   kubectl apply -f k8s/base/namespace.yaml && k8s/overlays/demo/secrets.sh | kubectl apply -f -
set -eu
random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
secret() {
    name="$1"
    shift
    kubectl -n territoire create secret generic "$name" "$@" --dry-run=client -o yaml
    echo ---
}
owner="$(random 24)" bus="$(random 24)"
services="gateway_bridge network intake ingest alerting lighting maintenance indicators api"
database="@database:5432/territoire"
# Each service has a login of its own, which the migration makes with the passwords of `logins`.
set -- --from-literal=owner-password="$owner" --from-literal=owner-url="postgresql://territoire:$owner$database"
logins=""
for service in $services; do
    password="$(random 24)"
    logins="$logins${logins:+, }\"$service\": \"$password\""
    name="$(echo "$service" | tr _ -)"
    set -- "$@" --from-literal="$name-url=postgresql://territoire_$service:$password$database"
done
secret territoire-database "$@" --from-literal=logins="{$logins}"
# So has it on the bus; `territoire` is the login of the migration, which makes the streams.
set -- --from-literal=password="$bus" --from-literal=url="nats://territoire:$bus@nats:4222"
for service in $services; do
    password="$(random 24)"
    name="$(echo "$service" | tr _ -)"
    set -- "$@" --from-literal="$name-password=$password" \
        --from-literal="$name-url=nats://territoire_$service:$password@nats:4222"
done
secret territoire-bus "$@"
secret territoire-kek --from-literal=kek="$(random 32)"
secret territoire-operator --from-literal=api-key="terr_$(random 6)_$(random 32)"
