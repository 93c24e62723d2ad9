#!/bin/sh
# Makes the cluster on first start, sets the role's password as the file says, becomes PostgreSQL.
# Run it as the user who owns DATA, which is not root.
set -eu

here=$(dirname "$(readlink -f "$0")")
: "${DATA:=/var/lib/postgresql/data}" "${PORT:=5432}" "${RUN:=/run/postgresql}"
: "${PASSWORD_FILE:=/run/secrets/postgres}"

password=$(cat "$PASSWORD_FILE")
[ ${#password} -ge 16 ] || { echo "postgres: $PASSWORD_FILE holds less than 16 characters" >&2; exit 1; }
case $password in *[!A-Za-z0-9_.~-]*)
    # In an address of a database anything else would have to be escaped.
    echo "postgres: $PASSWORD_FILE may hold letters, digits and _ . ~ - only" >&2; exit 1 ;;
esac

# One statement a line, while nobody else can connect.
alone() { postgres --single -j -D "$DATA" -c config_file="$here/postgresql.conf" postgres >/dev/null; }

if [ ! -s "$DATA/PG_VERSION" ]; then
    initdb --pgdata="$DATA" --username="$(id -un)" --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
        --auth=peer >/dev/null
fi
if [ ! -f "$DATA/made" ]; then
    printf '%s;\n\n' "CREATE ROLE stylediffuser LOGIN" \
        "CREATE DATABASE stylediffuser OWNER stylediffuser" | alone
    : >"$DATA/made"
fi
printf '%s;\n\n' "ALTER ROLE stylediffuser PASSWORD '$password'" | alone
exec postgres -D "$DATA" -c config_file="$here/postgresql.conf" -c hba_file="$here/pg_hba.conf" \
    -c unix_socket_directories="$RUN" -p "$PORT" "$@"
