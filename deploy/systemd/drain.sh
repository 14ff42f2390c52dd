#!/bin/sh
# Drains Envoy: waits until its running streams have ended, five minutes at most (the sidecar's longest turn). Used as
# ExecStop of codex-edge-envoy.service, and by the entry point of Envoy's image; in Kubernetes the same script is the
# sidecar's preStop hook. The first argument is the time, 5 s by default, that a load balancer has to choose another address.
admin() { curl --silent --fail --max-time 5 --unix-socket /run/codex-edge/envoy-admin.sock "$@"; }
is_running() { [ "$1" -ne 7 ]; } # 7 of curl: nothing listens on the socket.
admin --request POST 'http://envoy/drain_listeners?graceful&skip_exit' || is_running $? || exit 0
sleep "${1:-5}"
for second in $(seq 300); do
  active=$(admin 'http://envoy/stats?filter=^http.public.downstream_rq_active$') || is_running $? || exit 0
  case $active in *': 0') exit 0 ;; esac
  sleep 1
done
