#!/usr/bin/env bash
# Builds Telegraf, one of the rivals, with the plugins that the benchmark needs; about a minute of CPU, once.
# Prints where it is. LOCAL_CACHE: where to (default: ${XDG_CACHE_HOME:-$HOME/.cache}/weir).
set -euo pipefail

version=1.37.2
plugins=custom,inputs.mqtt_consumer,inputs.kafka_consumer,outputs.kafka,outputs.influxdb,parsers.value,parsers.json_v2
plugins=$plugins,serializers.template,serializers.influx,processors.unpivot
cache=${LOCAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir}
home=$cache/telegraf-$version

if [ ! -x "$home/telegraf" ]; then
  command -v go >/dev/null || { echo "install_telegraf: go is not on PATH: install Go 1.24 or newer" >&2; exit 69; }
  echo "install_telegraf: Telegraf $version, about a minute" >&2
  aside=$cache/tmp-telegraf-$$
  trap 'rm -rf "$aside"' EXIT
  (cd / && GOWORK=off GOBIN=$aside CGO_ENABLED=0 go install -tags "$plugins" \
    -ldflags "-s -w -X github.com/influxdata/telegraf/internal.Version=$version" \
    "github.com/influxdata/telegraf/cmd/telegraf@v$version") >&2
  mkdir -p "$home"
  mv "$aside/telegraf" "$home/telegraf"
fi
echo "$home/telegraf"
