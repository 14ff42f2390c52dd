#!/bin/bash
# Entry point of Envoy's image: runs Envoy with the given arguments.
#
# - On SIGTERM or SIGINT Envoy drains: new requests are served, and Envoy stops when no stream runs, or after five minutes.
#   SIGTERM alone would cut every stream. A second signal ends the container at once.
# - A folder that is mounted at /etc/codex-edge.d replaces the files of the image: filter.yaml (keys), envoy.yaml, and
#   tls.crt with tls.key, which switch on TLS. A changed filter.yaml or certificate is used within about a second; Envoy
#   itself would not notice a file that is changed in place.
# - With BASE_URL, the address for clients is printed once Codex can take a turn, or the command for a missing login.
#
# ENVOY_CONCURRENCY is the number of worker threads, by default one for each processor; NOFILE the limit of open files.
set -u

readonly image=/etc/codex-edge mounted=/etc/codex-edge.d live=/tmp/codex-edge
readonly sidecar=/run/codex-edge/sidecar.sock
arguments=("$@")
declare -A used=()

say() { printf 'codex-edge: %s\n' "$*" >&2; }

# Sets `text` to the content of a file, without starting a process.
read_file() { text= && IFS= read -r -d '' text <"$1"; [[ -n $text ]]; }

# Replaces a file in the folder that Envoy watches by a rename, which Envoy notices. Only this user can read the file.
write_live() { (umask 077 && printf '%s' "$2" >"$live/.$1") && mv "$live/.$1" "$live/$1"; }

# Takes a file from the mounted folder, else from the image. Fails if it cannot be read or has not changed.
take() {
  local source=$image/$1
  [[ -e $mounted/$1 ]] && source=$mounted/$1
  if ! read_file "$source"; then
    [[ ${used[$1]-} == unreadable ]] || say "cannot read $source: it must be a file that user $UID can read, and not empty"
    used[$1]=unreadable
    return 1
  fi
  [[ ${used[$1]-} != "$text" ]] || return 1
  used[$1]=$text
}

# Applies a new filter.yaml.
follow_filter() {
  take filter.yaml && write_live filter.yaml "${text//"$image/"/"$live/"}"
}

# Applies a new certificate. Key and certificate are in one file, so that Envoy never sees half of a change.
follow_certificate() {
  local key
  take tls.key; key=$?
  take tls.crt || ((key == 0)) || return 1
  [[ ${used[tls.key]} != unreadable && ${used[tls.crt]} != unreadable ]] || return 1
  local indent=$'\n          '
  write_live tls.yaml "resources:
- '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: tls
  tls_certificate:
    certificate_chain:
        inline_string: |${indent}${used[tls.crt]//$'\n'/$indent}
    private_key:
        inline_string: |${indent}${used[tls.key]//$'\n'/$indent}
"
}

# Writes envoy.yaml, with TLS on the public listener, which is the first one, if there is a certificate.
write_envoy() {
  take envoy.yaml || return 1
  local config=${text//"$image/"/"$live/"} plain='    - filters:' secure="    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificate_sds_secret_configs:
            - name: tls
              sds_config:
                path_config_source: { path: $live/tls.yaml, watched_directory: { path: $live } }
                resource_api_version: V3
      filters:"
  config=${config/"{ path: $image }"/"{ path: $live }"}
  [[ -z $tls ]] || config=${config/"$plain"/"$secure"}
  write_live envoy.yaml "$config"
}

# Prints what a first user needs: the address and a request, or the command for the login.
greet() {
  local response
  response=$(curl --silent --max-time 2 --write-out ' %{http_code}' --unix-socket "$sidecar" http://sidecar/readyz) || return
  case $response in
    *' 200')
      greeted=ready
      say "ready; the key for clients is PROXY_API_KEY in .env

  base URL  $BASE_URL
  curl -N $BASE_URL/chat/completions -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' \\
    -d '{\"model\":\"codex-5\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Say hello.\"}]}'
" ;;
    *codex_login_required*)
      [[ $greeted == login ]] || say "Codex has no login; run: docker compose exec sidecar codex login --device-auth
  or, with an API key: printenv OPENAI_API_KEY | docker compose exec -T sidecar codex login --with-api-key"
      greeted=login ;;
  esac
}

tls=
if [[ -d $mounted ]]; then
  mkdir -p "$live" && ln -sfn "$image/filter.wasm" "$live/filter.wasm" || exit 1
  [[ -e $mounted/tls.crt || -e $mounted/tls.key ]] && tls=1
  write_envoy && follow_filter || exit 1
  [[ -z $tls ]] || follow_certificate || exit 1
  arguments=("${arguments[@]/#"$image/envoy.yaml"/"$live/envoy.yaml"}")
fi
[[ -z ${ENVOY_CONCURRENCY:-} ]] || arguments+=(--concurrency "$ENVOY_CONCURRENCY")
BASE_URL=${BASE_URL:-}
[[ -z $tls ]] || BASE_URL=${BASE_URL/#http:/https:}
ulimit -S -n "${NOFILE:-65536}" 2>/dev/null || ulimit -S -n "$(ulimit -H -n)"

stopping=
trap 'stopping=1' TERM INT
envoy "${arguments[@]}" &
envoy=$!
greeted=
while [[ -z $stopping ]] && kill -0 "$envoy" 2>/dev/null; do
  if [[ -d $mounted ]]; then
    follow_filter && say "uses the changed filter.yaml"
    [[ -z $tls ]] || { follow_certificate && say "uses the changed certificate"; }
  fi
  [[ -z $BASE_URL || $greeted == ready ]] || greet
  sleep 1 &
  wait -n "$envoy" $!
done
trap - TERM INT
if [[ -n $stopping ]]; then
  /usr/local/lib/codex-edge/drain.sh 0 >/dev/null
  kill -TERM "$envoy"
fi
wait "$envoy"
