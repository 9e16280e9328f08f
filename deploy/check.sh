#!/usr/bin/env bash
# Lints the Helm chart, renders it with several values, and checks the compose file against its schema. HELM and COMPOSE are the
# programs for it, which `make deploy` installs.
set -euo pipefail
cd "$(dirname "$0")"
chart=helm/stator
lint() { "$HELM" lint --quiet --strict "$chart" "$@"; }
render() { "$HELM" template demo "$chart" "$@"; }
has() { grep -qe "$2" <<<"$1" || { echo "deploy: the rendered chart lacks: $2" >&2; exit 1; }; }
hasnt() { if grep -qe "$2" <<<"$1"; then echo "deploy: the rendered chart has: $2" >&2; exit 1; fi; }

lint --set storage.url=tikv://pd:2379 --set insecure=true
out=$(render --set storage.url=tikv://pd:2379 --set insecure=true)
has "$out" 'url: "tikv://pd:2379"'
has "$out" '- --insecure$'
has "$out" 'replicas: 3$'
has "$out" 'path: /readyz'
has "$out" 'prometheus.io/port: "8000"$'
hasnt "$out" metrics-listen
hasnt "$out" dax
hasnt "$out" HorizontalPodAutoscaler

more=(--set storage.existingSecret=db --set storage.existingSecretKey=uri --set credentials.existingSecret=keys --set tls.existingSecret=certificate --set dax.enabled=true
	--set autoscaling.enabled=true --set s3.endpoint=https://s3.example --set s3.existingSecret=s3 --set 'extraArgs={--throttling=off}')
lint "${more[@]}"
out=$(render "${more[@]}")
has "$out" 'key: uri$'
has "$out" '- --credentials=/credentials/credentials.json$'
has "$out" '- --metrics-listen=0.0.0.0:9090$'
has "$out" 'prometheus.io/port: "9090"$'
has "$out" 'secret: {secretName: keys, defaultMode: 0400}$'
has "$out" '- --tls-cert=/tls/tls.crt$'
has "$out" 'secret: {secretName: certificate, defaultMode: 0400}$'
has "$out" 'httpGet: {path: /readyz, port: metrics}$'
has "$out" '- --dax-advertise=$(POD_IP)$'
has "$out" '- "--throttling=off"$'
has "$out" 'kind: HorizontalPodAutoscaler$'
hasnt "$out" insecure
hasnt "$out" 'replicas: 3$'
hasnt "$out" 'demo-storage'

out=$(render --set storage.url=tikv://pd:2379 --set credentials.existingSecret=keys --set insecureHTTP=true)
has "$out" '- --insecure-http$'
hasnt "$out" tls-cert

for wrong in '--set insecure=true' '--set storage.url=tikv://pd:2379' '--set storage.url=tikv://pd:2379 --set credentials.existingSecret=keys'; do
	# shellcheck disable=SC2086 # they are several words
	if render $wrong >/dev/null 2>&1; then
		echo "deploy: a chart with $wrong alone must be refused" >&2
		exit 1
	fi
done
"$COMPOSE" compose/compose.yaml >/dev/null
echo "deploy: the chart and the compose file are well formed"
