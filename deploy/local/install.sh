#!/usr/bin/env bash
# Puts the real servers that Weir runs on where deploy/local finds them: Apache Kafka's jars (Maven) and InfluxDB (Go) in
# the cache folder, Mosquitto 2 on PATH (Debian's package when there is none).
#
#   LOCAL_CACHE    where to (default: ${XDG_CACHE_HOME:-$HOME/.cache}/weir)
#   LOCAL_INFLUX   1 (default): InfluxDB 1.8.10, about a minute; 2: InfluxDB 2.7.12, about 8 CPU minutes, needs Rust too
#
# Safe to repeat (does nothing when all is there), to interrupt (each part is built aside, then renamed into place) and
# to run twice at once (the second waits). Exit codes: 0 all is there; 69 something is missing that only you can
# install, said before any work; 1 a step failed, its output is shown.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LOCAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir}
influx=${LOCAL_INFLUX:-1}

# Where the parts end up; deploy/local/servers.py starts them from there.
kafka_home=$cache/kafka-4.1.2
influx1_home=$cache/influxdb-1.8.10
influx2_home=$cache/influxdb-2.7.12

say() { printf 'install: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

checksum() { sha256sum <"$1" | cut -d' ' -f1; }

# A part is there when the folder that its build was renamed to carries the checksum of what it was built from.
installed() { [ -f "$1/.built-from" ] && [ "$(cat "$1/.built-from")" = "$(checksum "$2")" ]; }

kafka_installed() { installed "$kafka_home" "$here/pom.xml"; }
influx_installed() {
  if [ "$influx" = 2 ]; then installed "$influx2_home" "$here/influx2/go.sum"; else [ -x "$influx1_home/influxd" ]; fi
}

find_mosquitto() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v mosquitto; }
mosquitto_installed() {
  local binary
  # Its -h exits with 3 by design.
  binary=$(find_mosquitto) && case "$("$binary" -h 2>&1 || true)" in "mosquitto version 2."*) ;; *) return 1 ;; esac
}

java_major() { java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1; }

# Prints one line for each thing that is missing and that this script can't put there.
missing() {
  case "$influx" in
    1 | 2) ;;
    *) echo "LOCAL_INFLUX is '$influx': set it to 1 or 2, or leave it unset" ;;
  esac
  have flock || echo "flock is not on PATH: install util-linux"
  have python3 || echo "python3 is not on PATH: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
  if ! have java; then
    echo "java is not on PATH: install a Java runtime, 17 or newer (Debian: apt-get install openjdk-17-jre-headless)"
  elif [ "$(java_major)" -lt 17 ] 2>/dev/null; then
    echo "java is version $(java_major): Kafka needs 17 or newer (Debian: apt-get install openjdk-17-jre-headless)"
  fi
  kafka_installed || have mvn || echo "mvn is not on PATH: install Maven (Debian: apt-get install maven)"
  if ! influx_installed; then
    have go || echo "go is not on PATH: install Go 1.21 or newer"
    if [ "$influx" = 2 ]; then
      have cargo || echo "cargo is not on PATH: InfluxDB 2 needs Rust (any recent version); or use LOCAL_INFLUX=1"
      have gcc || echo "gcc is not on PATH: InfluxDB 2 needs a C compiler (Debian: apt-get install build-essential)"
    fi
  fi
  if ! mosquitto_installed; then
    if find_mosquitto >/dev/null; then
      echo "$(find_mosquitto) is not Mosquitto 2: install Mosquitto 2.0 or newer, or take this one off PATH"
    elif ! have apt-get; then
      echo "mosquitto is not on PATH and there is no apt-get: install Mosquitto 2.0 or newer"
    elif [ "$(id -u)" -ne 0 ] && ! have sudo; then
      echo "mosquitto is not on PATH and this user may not install packages: run 'apt-get install mosquitto mosquitto-clients' as root"
    fi
  fi
}

# finish BUILT HOME: makes what was built aside the installed part, in one rename.
finish() {
  rm -rf "$2"
  mv "$1" "$2"
}

install_kafka() {
  local built=$cache/tmp/kafka
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$built/libs"
  checksum "$here/pom.xml" >"$built/.built-from"
  finish "$built" "$kafka_home"
}

install_influx1() {
  local built=$cache/tmp/influxdb
  # From / and without a workspace, so that no go.mod of the caller's has a say.
  (cd / && GOWORK=off GOBIN=$built go install -ldflags "-s -w -X main.version=1.8.10" \
    github.com/influxdata/influxdb/cmd/influxd@v1.8.10)
  finish "$built" "$influx1_home"
}

# `go install` refuses 2.7 (its go.mod has replace directives), hence the wrapper module in influx2/. Its query engine
# is a Rust crate, which pins an old toolchain and treats warnings as errors: use the Rust that is there, cap the lints.
install_influx2() {
  local built=$cache/tmp/influxdb tools=$cache/tmp/influxdb-tools toolchain=
  have rustup && toolchain=$(cd / && rustup show active-toolchain | cut -d' ' -f1)
  mkdir -p "$built" "$tools"
  printf '#!/bin/sh\nexec "$@" --cap-lints warn\n' >"$tools/rustc-cap-lints"
  chmod +x "$tools/rustc-cap-lints"
  cd "$here/influx2"
  export GOWORK=off
  go build -mod=readonly -o "$tools/pkg-config" github.com/influxdata/pkg-config
  PATH=$tools:$PATH RUSTC_WORKSPACE_WRAPPER=$tools/rustc-cap-lints ${toolchain:+env RUSTUP_TOOLCHAIN="$toolchain"} \
    go build -mod=readonly -tags sqlite_foreign_keys,sqlite_json -ldflags "-s -w -X main.version=v2.7.12" \
    -o "$built/influxd" github.com/influxdata/influxdb/v2/cmd/influxd
  checksum "$here/influx2/go.sum" >"$built/.built-from"
  finish "$built" "$influx2_home"
}

# Debian's package starts a broker on port 1883 and enables it for every boot. Weir runs its own on a port of its own
# choice, so the package's is kept from starting (policy-rc.d is how one says that to Debian) and disabled.
install_mosquitto() {
  local root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  "${root[@]}" apt-get update -q
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c '
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
      trap "rm -f $policy" EXIT
      printf "#!/bin/sh\nexit 101\n" >$policy && chmod +x $policy
    fi
    apt-get install -q -y --no-install-recommends mosquitto mosquitto-clients'
  if have systemctl && [ -d /run/systemd/system ]; then
    "${root[@]}" systemctl disable --now mosquitto.service
    say "the package's own service is disabled (Weir starts its own broker); 'systemctl enable --now mosquitto' brings it back"
  fi
}

all_installed() { kafka_installed && influx_installed && mosquitto_installed; }

needs=$(missing)
if [ -n "$needs" ]; then
  printf '%s\n' "$needs" | sed 's/^/install: /' >&2
  exit 69
fi
all_installed && exit 0

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock -n 9 || { say "another install is at work in $cache: waiting for it"; flock 9; }
rm -rf "$cache/tmp"
mkdir -p "$cache/tmp"

jobs=()
# Each build is a process group of its own, so that an interrupted install takes its compilers along. One that is killed
# outright can't: then they hold the lock, and the next install waits for them.
trap 'for job in "${jobs[@]}"; do kill -- "-${job#*:}" 2>/dev/null; done' EXIT
# start NAME TITLE FUNCTION: runs it in the background, output in a file.
start() {
  say "$2"
  set -m
  ("$3") >"$cache/tmp/$1.log" 2>&1 &
  set +m
  jobs+=("$1:$!")
}
kafka_installed || start kafka "Apache Kafka 4.1.2, about 10 s" install_kafka
if ! influx_installed; then
  if [ "$influx" = 2 ]; then
    start influxdb "InfluxDB 2.7.12, about 8 CPU minutes (once)" install_influx2
  else
    start influxdb "InfluxDB 1.8.10, about a minute" install_influx1
  fi
fi
failed=
if ! mosquitto_installed; then
  say "Mosquitto, by apt-get"
  # In the foreground, since sudo may ask for a password; not in a condition, since bash drops `set -e` inside those.
  set +e
  (set -e; install_mosquitto) >&2
  [ $? -eq 0 ] || failed=" mosquitto"
  set -e
fi
for job in "${jobs[@]}"; do
  if ! wait "${job#*:}"; then
    failed="$failed ${job%%:*}"
    say "${job%%:*} failed; the end of its output:"
    tail -n 30 "$cache/tmp/${job%%:*}.log" >&2
  fi
done
jobs=()
if [ -n "$failed" ] || ! all_installed; then
  say "failed:${failed:- an installed part is not where it should be}; run again once the cause is mended (what succeeded is kept)"
  exit 1
fi
rm -rf "$cache/tmp"
say "all there, in $cache"
