#!/usr/bin/env bash
# Starts four servers, one durable and open, two with credentials, one of them with TLS, and one with a clock that tests move,
# and runs every client's tests against them.
# Needs BUILD (where the Python environment is) and bin/stator.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
pids=()
cleanup() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
	rm -rf "$work"
}
trap cleanup EXIT

# start NAME FLAG… runs a server on free ports and sets $endpoint and $dax.
start() {
	local name=$1
	shift
	launch "$name" bin/stator serve --listen 127.0.0.1:0 --dax-listen 127.0.0.1:0 "$@"
}

# launch NAME COMMAND… runs what says where it answers.
launch() {
	local name=$1
	shift
	: >"$work/$name.out"
	"$@" >"$work/$name.out" 2>"$work/$name.log" &
	pids+=($!)
	for _ in $(seq 300); do
		endpoint=$(sed -nE 's/.*ready at (https?:[^ ]+) .*/\1/p' "$work/$name.out")
		dax=$(sed -nE 's/.*DAX: (dax:[^,)]+).*/\1/p' "$work/$name.out")
		[ -n "$endpoint" ] && return
		sleep 0.1
	done
	echo "the server does not start:"
	cat "$work/$name.log"
	exit 1
}

cat >"$work/credentials.json" <<'END'
[{"accessKeyId": "AKIDKNOWN", "secretAccessKey": "known-secret", "account": "123456789012"},
 {"accessKeyId": "AKIDOTHER", "secretAccessKey": "other-secret", "account": "210987654321"}]
END
start auth --in-memory --credentials "$work/credentials.json"
export STATOR_AUTH_ENDPOINT=$endpoint STATOR_AUTH_DAX_ENDPOINT=$dax
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=stator \
	-addext subjectAltName=IP:127.0.0.1 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
(umask 077 && openssl rand -base64 32 >"$work/secrets.key")
start tls --data-dir "$work/tls-data" --credentials "$work/credentials.json" --secrets-key-file "$work/secrets.key" \
	--tls-cert "$work/cert.pem" --tls-key "$work/key.pem"
export STATOR_TLS_ENDPOINT=$endpoint STATOR_TLS_CA=$work/cert.pem
STATOR_SECRETS_KEY=$(cat "$work/secrets.key") start clock --data-dir "$work/clock-data" --test-clock
export STATOR_CLOCK_ENDPOINT=$endpoint STATOR_CLOCK_BUCKETS=$work/clock-data/s3
# With CLIENTS_SERVERS most of them run over so many servers that share a database, in place of one with a data directory.
if [ -n "${CLIENTS_SERVERS:-}" ]; then
	go build -o "$work/many" ./test/clients/many
	launch open "$work/many" -servers "$CLIENTS_SERVERS" -dir "$work/data"
	STATOR_TEST_SHARED=$(sed -nE 's/.*\(data: ([^ ]+), DAX.*/\1/p' "$work/open.out")
	export STATOR_TEST_SHARED
else
	start open --data-dir "$work/data"
fi
export STATOR_BINARY=$PWD/bin/stator STATOR_ENDPOINT=$endpoint STATOR_DAX_ENDPOINT=$dax STATOR_BUCKETS=$work/data/s3

echo "== boto3"
"$BUILD/python/bin/python" -m pytest -q -p no:cacheprovider test/clients/boto3
echo "== AWS CLI"
PATH="$BUILD/python/bin:$PATH" test/clients/cli/cli_test.sh
echo "== AWS SDK for Go v2"
(cd test/clients/go && go test -count=1 ./...)
echo "== AWS SDK for JavaScript v3"
mkdir -p "$BUILD/javascript"
cp test/clients/javascript/package.json test/clients/javascript/*.test.js "$BUILD/javascript/"
(cd "$BUILD/javascript" && npm install --no-audit --no-fund --silent && npm test)
echo "== AWS SDK for Java v2"
mvn -q -B -f test/clients/java/pom.xml -DbuildDirectory="$BUILD/java" test
echo "== Kinesis Client Library over DynamoDB Streams"
mvn -q -B -f test/clients/kcl/pom.xml -DbuildDirectory="$BUILD/kcl" test
echo "All clients passed."
if grep -E 'level=ERROR|panic' "$work"/*.log; then
	echo "the server logged errors"
	exit 1
fi
