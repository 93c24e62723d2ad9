#!/bin/sh
# Fills in the configuration and becomes nginx. `start.sh -t` only checks it.
set -eu

here=$(dirname "$(readlink -f "$0")")
: "${RUN:=/run/nginx}" "${WEB:=web:8000}" "${HTTP_PORT:=8080}" "${HTTPS_PORT:=8443}"
: "${MEDIA:=/var/lib/stylediffuser/media}" "${CACHE:=/var/lib/stylediffuser/cache/images}"
: "${TLS_CERTIFICATE:=/run/tls/certificate.pem}" "${TLS_KEY:=/run/tls/key.pem}"
: "${REQUESTS_PER_SECOND:=50}" "${REQUESTS_BURST:=200}"
: "${CLAIMS_PER_SECOND:=5}" "${CLAIMS_BURST:=60}"
export RUN WEB HTTP_PORT HTTPS_PORT MEDIA CACHE TLS_CERTIFICATE TLS_KEY
export REQUESTS_PER_SECOND REQUESTS_BURST CLAIMS_PER_SECOND CLAIMS_BURST

fill() {
    # By name: nginx's own $variables are not ours to fill in.
    # shellcheck disable=SC2016
    envsubst '$RUN $WEB $HTTP_PORT $HTTPS_PORT $MEDIA $CACHE $TLS_CERTIFICATE $TLS_KEY
        $REQUESTS_PER_SECOND $REQUESTS_BURST $CLAIMS_PER_SECOND $CLAIMS_BURST' \
        <"$here/$1.template" >"$RUN/$2"
}

mkdir -p "$RUN"
fill nginx.conf nginx.conf
fill locations.conf locations.conf
if [ -s "$TLS_CERTIFICATE" ] && [ -s "$TLS_KEY" ]; then
    fill tls.conf server.conf
else
    echo "nginx: no certificate at $TLS_CERTIFICATE, so no TLS" >&2
    fill http.conf server.conf
fi
exec nginx -e stderr -c "$RUN/nginx.conf" "$@"
