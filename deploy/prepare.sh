#!/bin/sh
# What docker-compose.yml needs on this machine and no repository may hold; what is there is kept.
#
#     deploy/prepare.sh server       passwords and keys in deploy/secrets, server.env, .env
#     deploy/prepare.sh generator    this worker's key pair in deploy/secrets, generator.env, .env
set -eu

cd "$(dirname "$(readlink -f "$0")")/.."
secrets=deploy/secrets
role=${1:-}
case $role in
server | generator) ;;
*)
    echo "usage: $0 server|generator" >&2
    exit 2
    ;;
esac

# The folder is closed to others, so its files need not be, and containers have users of their own.
umask 077
mkdir -p "$secrets"
chmod 700 "$secrets"

# keep NAME CONTENT: unless there is such a secret.
keep() {
    [ ! -e "$secrets/$1" ] || return 0
    printf '%s' "$2" >"$secrets/.draft"
    chmod 444 "$secrets/.draft"
    mv "$secrets/.draft" "$secrets/$1"
    made="$made $1"
}

# 64 signs, none of which means anything in an address.
random() {
    head -c 48 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'
}

# example FROM TO PROFILES: settings to be edited.
example() {
    [ ! -e "$2" ] || return 0
    sed "s/^COMPOSE_PROFILES=.*/COMPOSE_PROFILES=$3/" "deploy/$1.example" >"$2"
    echo "Made $2: look through it."
}

made=""
if [ "$role" = server ]; then
    for name in secret_key postgres redis_server redis_admin metrics_token; do
        keep "$name" "$(random)"
    done
    database=stylediffuser:$(cat $secrets/postgres)@postgres:5432/stylediffuser
    keep database_url "postgres://$database"
    keep broker_url "redis://server:$(cat $secrets/redis_server)@redis:6379/0"
    keep broker_admin_url "redis://admin:$(cat $secrets/redis_admin)@redis:6379/0"
    # Empty means none.
    for name in email_password alarm_webhook_secret tls_certificate tls_key; do
        keep "$name" ""
    done
    example server.env server.env ""
    example compose.env .env web,server-worker,beat,postgres,redis,sftp
else
    if [ ! -e "$secrets/worker_key" ]; then
        ssh-keygen -q -t ed25519 -N '' -C "$(hostname)" -f "$secrets/worker_key"
        chmod 444 "$secrets/worker_key"
        made=" worker_key"
    fi
    example generator.env generator.env ""
    example compose.env .env generator
    echo "This worker's public key, for add_worker on the server:"
    cut -d ' ' -f 1,2 "$secrets/worker_key.pub"
fi
[ -z "$made" ] || echo "Made in $secrets:$made"
