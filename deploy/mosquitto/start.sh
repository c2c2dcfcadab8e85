#!/bin/sh
# Makes the password file from the environment, then becomes the broker. The passwords stand in a tmpfs, in no command line.
set -eu
umask 077
folder=/run/weir

refuse() { echo "mosquitto: $1" >&2; exit 78; }

for name in MQTT_PASSWORD MQTT_DEVICES_PASSWORD; do
  eval "password=\${$name:-}"
  case $password in
    "") refuse "$name is empty: set it in .env" ;;
    *[!A-Za-z0-9._~+/=-]*) refuse "$name has a character that is none of A-Z a-z 0-9 . _ ~ + / = -" ;;
  esac
done

printf 'weir:%s\ndevices:%s\n' "$MQTT_PASSWORD" "$MQTT_DEVICES_PASSWORD" >"$folder/passwords"
mosquitto_passwd -U "$folder/passwords"
# Options that mosquitto_sub reads from $XDG_CONFIG_HOME, for the health check.
printf -- '--username weir\n--pw %s\n' "$MQTT_PASSWORD" >"$folder/mosquitto_sub"

unset password MQTT_PASSWORD MQTT_DEVICES_PASSWORD
exec mosquitto -c /etc/weir/mosquitto.conf
