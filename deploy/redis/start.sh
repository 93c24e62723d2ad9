#!/bin/sh
# Writes the server's own two accounts into the accounts' file, keeps the workers', becomes Redis.
#     server   Celery of the server: everything but accounts and the broker itself
#     admin    what manage.py add_worker and revoke_worker need
# Their passwords are files. `sha256sum` of them, not they themselves, is what Redis is given.
set -eu

here=$(dirname "$(readlink -f "$0")")
: "${DATA:=/data}" "${PORT:=6379}"
: "${SERVER_PASSWORD_FILE:=/run/secrets/redis_server}"
: "${ADMIN_PASSWORD_FILE:=/run/secrets/redis_admin}"

digest() {
    password=$(cat "$1")
    [ ${#password} -ge 16 ] || { echo "redis: $1 holds less than 16 characters" >&2; exit 1; }
    printf %s "$password" | sha256sum | cut -d ' ' -f 1
}

server=$(digest "$SERVER_PASSWORD_FILE")
admin=$(digest "$ADMIN_PASSWORD_FILE")
umask 077
draft="$DATA/users.acl.draft"
{
    echo "user default off resetpass nocommands"
    echo "user server on #$server ~* &* +@all -@admin -@dangerous +info +keys +flushdb"
    echo "user admin on #$admin ~* resetchannels -@all +acl +del +ping +hello +auth +select +client|setname"
    if [ -f "$DATA/users.acl" ]; then grep '^user worker-' "$DATA/users.acl" || true; fi
} >"$draft"
mv "$draft" "$DATA/users.acl"
exec redis-server "$here/redis.conf" --port "$PORT" --dir "$DATA" --aclfile "$DATA/users.acl" "$@"
