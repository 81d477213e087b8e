#!/bin/sh
# The agent, run by the Node of the package. The unit does without this file.

# Names of settings for another Node or another OpenSSL, which must not reach this one.
foreign() {
  export -p | while IFS= read -r line; do
    line=${line#export }
    line=${line%%=*}
    case $line in
      *[!A-Za-z0-9_]*) ;;
      NODE_* | OPENSSL_* | SSL_CERT_* | UV_*) echo "$line" ;;
    esac
  done
}

unset NODE_OPTIONS $(foreign)
exec /usr/lib/metabind/bin/node --max-semi-space-size=1 --max-old-space-size=96 /usr/lib/metabind/metabindd.cjs "$@"
