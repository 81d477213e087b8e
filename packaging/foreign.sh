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
