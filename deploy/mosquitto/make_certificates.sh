#!/bin/sh
# Certificates for Mosquitto's production configuration (production.conf), by openssl alone. docs/security.md says how to use them.
#   make_certificates.sh FOLDER server HOST...              broker's certificate: names and addresses by which it is reached
#   make_certificates.sh FOLDER service NAME                a service of Weir: weir-bridge, weir-alerts, weir-tools, weir-simulator
#   make_certificates.sh FOLDER device TENANT/SITE/DEVICE   a device
#   make_certificates.sh FOLDER revoke NAME                 every certificate of this service or device, into the revocation list
# Two authorities, made when first needed: `weir` signs broker and services, `devices` signs devices, so that no device's
# certificate opens the services' listener. Keys are readable by their owner only. The authorities' keys (*-ca.key) can make
# anybody's identity: keep the folder off the broker, and copy there what production.conf names.
set -eu
umask 077

refuse() { echo "make_certificates.sh: $1" >&2; exit 64; }

[ $# -ge 3 ] || refuse "takes FOLDER, then server HOST... | service NAME | device TENANT/SITE/DEVICE | revoke NAME"
folder=$1 what=$2 name=$3
shift 2
DAYS=${DAYS:-365}
CA_DAYS=3650

# What openssl chats about is shown only where it failed.
quietly() { openssl "$@" 2>"$folder/openssl.log" || { cat "$folder/openssl.log" >&2; exit 70; }; rm "$folder/openssl.log"; }

id='[A-Za-z0-9_.:-]\{1,64\}'
matches() { printf '%s' "$2" | grep -qx "$1" && [ "$(printf '%s' "$2" | wc -l)" -eq 0 ]; }
is_device() { matches "$id/$id/$id" "$1"; }
is_service() { matches "weir-[A-Za-z0-9_.-]\{1,59\}" "$1"; }

configure() {
  for authority in weir devices; do
    cat <<AUTHORITY
[$authority]
dir = $folder/authorities/$authority
certificate = $folder/$authority-ca.crt
private_key = $folder/$authority-ca.key
database = \$dir/index.txt
new_certs_dir = \$dir/issued
rand_serial = yes
unique_subject = no
default_md = sha256
default_crl_days = $CA_DAYS
policy = name
AUTHORITY
  done >"$folder/openssl.cnf"
  cat >>"$folder/openssl.cnf" <<CONFIGURATION
[name]
commonName = supplied
[req]
distinguished_name = unasked
prompt = no
[unasked]
CN = unasked
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[client]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
CONFIGURATION
}

# request NAME KEY: a new key, and a request for a certificate of this name, on stdout.
request() {
  quietly genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$2"
  # In a file, as openssl takes the / of a name on the command line for the end of it.
  printf '[req]\ndistinguished_name = dn\nprompt = no\n[dn]\nCN = %s\n' "$1" >"$folder/request.cnf"
  quietly req -new -config "$folder/request.cnf" -key "$2"
  rm "$folder/request.cnf"
}

authority() {
  [ -e "$folder/$1-ca.crt" ] && return
  mkdir -p "$folder/authorities/$1/issued"
  : >"$folder/authorities/$1/index.txt"
  request "weir authority: $1" "$folder/$1-ca.key" >"$folder/$1-ca.csr"
  quietly x509 -req -in "$folder/$1-ca.csr" -key "$folder/$1-ca.key" -days "$CA_DAYS" \
    -extfile "$folder/openssl.cnf" -extensions authority -out "$folder/$1-ca.crt"
  rm "$folder/$1-ca.csr"
  chmod 644 "$folder/$1-ca.crt"
  revocation_list "$1"
}

revocation_list() {
  quietly ca -config "$folder/openssl.cnf" -name "$1" -gencrl -out "$folder/$1.crl"
  chmod 644 "$folder/$1.crl"
}

# issue AUTHORITY NAME PATH EXTENSIONS-FILE SECTION: PATH.crt and PATH.key, replaced together.
issue() {
  authority "$1"
  mkdir -p "$(dirname "$3")"
  request "$2" "$3.key.new" >"$3.csr"
  quietly ca -batch -notext -config "$folder/openssl.cnf" -name "$1" -days "$DAYS" -extfile "$4" -extensions "$5" \
    -in "$3.csr" -out "$3.crt.new"
  rm "$3.csr"
  mv "$3.key.new" "$3.key"
  chmod 644 "$3.crt.new"
  mv "$3.crt.new" "$3.crt"
  echo "$3.crt"
}

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
configure

case $what in
  server)
    names=
    for host in "$@"; do
      matches '[A-Za-z0-9.:-]\{1,253\}' "$host" || refuse "$host: no host name and no address"
      case $host in
        *:* | *[0-9].*[0-9].*[0-9].*[0-9]) names="$names${names:+,}IP:$host" ;;
        *) names="$names${names:+,}DNS:$host" ;;
      esac
    done
    {
      printf '[server]\nbasicConstraints = CA:FALSE\nkeyUsage = critical, digitalSignature\n'
      printf 'extendedKeyUsage = serverAuth\nsubjectAltName = %s\n' "$names"
    } >"$folder/server.cnf"
    issue weir "weir broker" "$folder/server" "$folder/server.cnf" server
    rm "$folder/server.cnf"
    ;;
  service)
    is_service "$name" || refuse "$name: a service's name begins with weir- and has no /, + or #"
    issue weir "$name" "$folder/services/$name" "$folder/openssl.cnf" client
    ;;
  device)
    is_device "$name" || refuse "$name: a device's name is TENANT/SITE/DEVICE, each of 1 to 64 of A-Z a-z 0-9 _ . : -"
    # X.509 allows no more in a common name.
    [ "${#name}" -le 64 ] || refuse "$name: a certificate carries 64 characters at most; give this device a password instead"
    issue devices "$name" "$folder/devices/$(printf '%s' "$name" | tr / ,)" "$folder/openssl.cnf" client
    ;;
  revoke)
    if is_device "$name"; then authority=devices
    elif is_service "$name"; then authority=weir
    else refuse "$name: neither a device (TENANT/SITE/DEVICE) nor a service (weir-...)"
    fi
    # The index writes a/b as a\/b; in awk's -v a backslash needs another.
    serials=$(awk -F '\t' -v name="/CN=$(printf '%s' "$name" | sed 's|/|\\\\/|g')" '$1 == "V" && $6 == name { print $4 }' \
      "$folder/authorities/$authority/index.txt")
    [ -n "$serials" ] || refuse "$name: no certificate of this name is in force"
    for serial in $serials; do
      quietly ca -config "$folder/openssl.cnf" -name "$authority" -revoke \
        "$folder/authorities/$authority/issued/$serial.pem"
    done
    revocation_list "$authority"
    echo "$folder/$authority.crl"
    ;;
  *) refuse "$what: takes server, service, device or revoke" ;;
esac
