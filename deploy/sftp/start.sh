#!/bin/sh
# Lays out the folder that workers see, keeps their users as ACCOUNTS says, and runs sshd.
#
#     ACCOUNTS/worker-gpu1     restrict ssh-ed25519 AAAA… 20001      (written by add_worker)
#
# Whose file goes, or gets another key, loses the connections it has within LOOK seconds.
set -eu

here=$(dirname "$(readlink -f "$0")")
: "${ROOT:=/srv/sftp}" "${ACCOUNTS:=/accounts}" "${KEYS:=/keys}" "${RUN:=/run/sftp}" "${PORT:=2222}"
: "${SERVER_UID:=10001}" "${SERVER_GID:=10001}" "${WORKERS_GID:=10002}"
: "${USERS:=/var/lib/extrausers}" "${LOOK:=2}"

# Others than root may write nowhere on the way to a chroot. In tmp and new a worker may make things
# and, by the sticky bit, move or remove only its own; it sees neither list. What it makes is of the
# server's group.
install -d -m 0755 "$ROOT" "$ROOT/inbox"
install -d -o "$SERVER_UID" -g "$SERVER_GID" -m 3733 "$ROOT/inbox/tmp" "$ROOT/inbox/new"
install -d -o "$SERVER_UID" -g "$WORKERS_GID" -m 2750 "$ROOT/checkpoints"
install -d -m 0755 "$RUN" "$RUN/keys" "$USERS" /run/sshd
install -d -m 0700 "$KEYS"
[ -f "$KEYS/host_key" ] || ssh-keygen -q -t ed25519 -N '' -C stylediffuser -f "$KEYS/host_key"
ssh-keygen -y -f "$KEYS/host_key" | cut -d ' ' -f 1,2 >"$RUN/host_key.pub"
install -m 0644 "$RUN/host_key.pub" "$ROOT/host_key.pub"
echo "workers:x:$WORKERS_GID:" >"$USERS/group"

# One account's file, which the server wrote: read as what it is, not believed. "" if it is not one.
read_account() {
    case ${1##*/} in *[!A-Za-z0-9._-]*) return ;; esac
    [ -f "$1" ] && read -r option kind key uid rest <"$1" || return 0
    [ "$option $kind ${rest:-}" = "restrict ssh-ed25519 " ] || return 0
    case $key in '' | *[!A-Za-z0-9+/=]*) return ;; esac
    case $uid in '' | *[!0-9]* | ??????*) return ;; esac
    if [ "$uid" -gt 20000 ]; then echo "$uid $key"; fi
}

look() {
    leaving=""
    : >"$RUN/passwd"
    for file in "$ACCOUNTS"/worker-*; do
        account=$(read_account "$file")
        [ -n "$account" ] || continue
        name=${file##*/} uid=${account%% *} key=${account#* }
        echo "$name:*:$uid:$WORKERS_GID::/:/usr/sbin/nologin" >>"$RUN/passwd"
        line="restrict ssh-ed25519 $key $uid"
        if [ "$(cat "$RUN/keys/$name" 2>/dev/null)" != "$line" ]; then
            [ ! -f "$RUN/keys/$name" ] || leaving="$leaving $uid"
            echo "$line" >"$RUN/keys/.draft" && mv "$RUN/keys/.draft" "$RUN/keys/$name"
        fi
    done
    for file in "$RUN"/keys/worker-*; do
        name=${file##*/}
        [ -f "$file" ] && ! grep -q "^$name:" "$RUN/passwd" || continue
        leaving="$leaving $(cut -d ' ' -f 4 "$file")"
        rm "$file"
    done
    cmp -s "$RUN/passwd" "$USERS/passwd" || install -m 0644 "$RUN/passwd" "$USERS/passwd"
    for uid in $leaving; do
        echo "sftp: user $uid is turned away" >&2
        pkill -KILL -u "$uid" || true
    done
    # What a worker made without access for the server, so that the server can refuse and remove it.
    find "$ROOT/inbox" -mindepth 2 \( -type d ! -perm -0070 -o -type f ! -perm -0040 \) \
        -exec chmod g+rwX {} + 2>/dev/null || true
}

look
/usr/sbin/sshd -D -e -f "$here/sshd_config" -p "$PORT" -h "$KEYS/host_key" \
    -o "ChrootDirectory=$ROOT" -o "AuthorizedKeysFile=$RUN/keys/%u" "$@" &
sshd=$!
trap 'kill "$sshd"' TERM INT
while kill -0 "$sshd" 2>/dev/null; do
    sleep "$LOOK" &
    wait $! || true
    look
done
wait "$sshd"
