#!/bin/bash
# Runs once, in InfluxDB's container, when it has made its first user and bucket: the second bucket, and an account that
# may read both by InfluxQL and nothing else. InfluxQL finds a bucket by its name as the database: no mapping is needed.
# Over HTTP, as the influx command takes a password only on its command line.
set -euo pipefail

# post PATH <BODY: prints the answer; fails with InfluxDB's own words.
post() {
  local answer
  if ! answer=$(curl --silent --show-error --fail-with-body --data @- --header "Content-Type: application/json" \
    --header @<(printf 'Authorization: Token %s\n' "$DOCKER_INFLUXDB_INIT_ADMIN_TOKEN") "$INFLUX_HOST$1"); then
    printf 'create-buckets: %s: %s\n' "$1" "$answer" >&2
    return 1
  fi
  printf '%s' "$answer"
}
# id_in ANSWER: its first "id" is that of what was made.
id_in() { [[ $1 =~ \"id\":\ *\"([0-9a-f]+)\" ]] && printf '%s' "${BASH_REMATCH[1]}"; }

org=$DOCKER_INFLUXDB_INIT_ORG_ID
short=$DOCKER_INFLUXDB_INIT_BUCKET_ID
two_years_s=63072000

bucket=$(post /api/v2/buckets <<<"{\"orgID\": \"$org\", \"name\": \"telemetry_long\",
  \"retentionRules\": [{\"type\": \"expire\", \"everySeconds\": $two_years_s}]}")
long=$(id_in "$bucket")

read_bucket() { printf '{"action": "read", "resource": {"type": "buckets", "id": "%s", "orgID": "%s"}}' "$1" "$org"; }
account=$(post /private/legacy/authorizations <<<"{\"orgID\": \"$org\", \"token\": \"grafana\",
  \"description\": \"Grafana, reads\", \"permissions\": [$(read_bucket "$short"), $(read_bucket "$long")]}")
post "/private/legacy/authorizations/$(id_in "$account")/password" <<<"{\"password\": \"$INFLUXDB_GRAFANA_PASSWORD\"}"
