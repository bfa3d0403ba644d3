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
owner="$(random 24)" service="$(random 24)" api="$(random 24)" bus="$(random 24)"
database="@database:5432/territoire"
secret territoire-database \
    --from-literal=owner-password="$owner" --from-literal=owner-url="postgresql://territoire:$owner$database" \
    --from-literal=service-password="$service" --from-literal=service-url="postgresql://territoire_service:$service$database" \
    --from-literal=api-password="$api" --from-literal=api-url="postgresql://territoire_api:$api$database"
secret territoire-bus --from-literal=password="$bus" --from-literal=url="nats://territoire:$bus@nats:4222"
secret territoire-kek --from-literal=kek="$(random 32)"
secret territoire-operator --from-literal=api-key="terr_$(random 6)_$(random 32)"
