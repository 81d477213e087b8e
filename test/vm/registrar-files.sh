# Read by day-two.sh, after registrar.sh and a reboot: who may read what, copies of the database, and a master key that the
# TPM of the machine keeps.
. ./registrar-library.sh
tried=$registrar_unit
after_reboot

step 'the API and the metrics'
api=/run/metabind-registrar/api.socket
is 'the socket of the API is for user and group' '660 metabind-registrar metabind-registrar' \
  "$(stat -c '%a %U %G' $api)"
is 'in a directory that the group may enter' '750 metabind-registrar metabind-registrar' \
  "$(stat -c '%a %U %G' "${api%/*}")"
read_api() { curl -s -m "$patience" -w ' %{http_code}' --unix-socket $api http://registrar/instances; }
holds 'root reads it' sh -c 'echo "$0" | grep -q "$1.* 200$"' "$(read_api)" "$instance_id"
in_group() { setpriv --reuid alice --regid alice --groups metabind-registrar "$@"; }
is 'so does a member of the group' 200 \
  "$(in_group curl -s -o /dev/null -w '%{http_code}' --unix-socket $api http://registrar/instances)"
is 'and nobody else' 000 "$(as alice curl -s -o /dev/null -w '%{http_code}' --unix-socket $api http://registrar/instances)"
curl -s -m "$patience" http://127.0.0.1:9191/metrics >/tmp/metrics
holds 'metrics are served to this machine' grep -q '^metabind_registrar_instances{state="active"} 1' /tmp/metrics
is 'and to no other' 000 "$(elsewhere -o /dev/null -w '%{http_code}' http://192.168.7.2:9191/metrics)"

step 'backup and restore'
copy=/var/lib/metabind-registrar/2026-11-29.backup
holds 'the database is copied while it serves' administer backup $copy
is 'for its user alone' '600 metabind-registrar' "$(stat -c '%a %U' $copy)"
is 'none is put back while it serves' REGISTRAR_RUNNING "$(administer restore $copy 2>&1 | grep -o '^metabind-registrar: [A-Z_]*' | cut -d' ' -f2)"
before=$(main_pid)
timeout "$patience" systemctl stop "$tried"
is 'it ends well' success "$(systemctl show -p Result --value "$tried")"
holds 'it is put back while none does' administer restore $copy
holds 'and it starts' timeout "$patience" systemctl start "$tried"
is 'with the same keys' "$(cat /root/jwks)" "$(jwks)"
add_audience restored.example
# Identity tokens of the minute after a restore are not accepted.
holds 'and issues tokens, a minute later' until_true 300 metabind federate token --audience restored.example
is_issued restored.example 'to the same instance'

step 'a port below 1024, and files for a bucket'
install -d -o metabind-registrar -g metabind-registrar /srv/issuer
cp /etc/metabind/registrar.toml /root/registrar.toml
sed -i 's/^port = 8443$/port = 443/' /etc/metabind/registrar.toml
printf '\n[publish]\ndirectory = "/srv/issuer"\n' >>/etc/metabind/registrar.toml
dropped_in "$tried" port PrivateUsers=no CapabilityBoundingSet=CAP_NET_BIND_SERVICE \
  AmbientCapabilities=CAP_NET_BIND_SERVICE ReadWritePaths=/srv/issuer
holds 'with the drop-in it starts' timeout "$patience" systemctl restart "$tried"
is 'and serves there' 200 "$(elsewhere --connect-to registrar.example:8443:192.168.7.2:443 \
  -o /dev/null -w '%{http_code}' "$url/healthz")"
kids() { grep -o '"kid": *"[^"]*"' | tr -d ' ' | sort; }
is 'and publishes the same keys, for everybody' "$(kids </root/jwks)" "$(as alice cat /srv/issuer/jwks.json | kids)"
rm -r "/etc/systemd/system/$tried.d/port.conf" /srv/issuer
cp /root/registrar.toml /etc/metabind/registrar.toml
timeout "$patience" systemctl daemon-reload
holds 'and starts again without it' timeout "$patience" systemctl restart "$tried"

if since 250 'a credential that the TPM keeps'; then
  step 'the master key under the TPM'
  holds 'systemd encrypts it under the TPM' timeout "$patience" systemd-creds encrypt --with-key=tpm2 --name=master.key \
    /var/lib/metabind-registrar/master.key /etc/metabind/registrar-master.key.cred
  dropped_in "$tried" master-key 'LoadCredentialEncrypted=master.key:/etc/metabind/registrar-master.key.cred'
  printf '\n[storage]\nmaster_key = "/run/credentials/%s/master.key"\n' "$tried" >>/etc/metabind/registrar.toml
  mv /var/lib/metabind-registrar/master.key /root/master.key
  before=$(main_pid)
  holds 'it starts with it' timeout "$patience" systemctl restart "$tried"
  note "the credential: $(stat -c '%a %U %G' "/run/credentials/$tried/master.key")"
  is 'it has the same keys' "$(cat /root/jwks)" "$(jwks)"
  holds 'and the key is in no file' test ! -e /var/lib/metabind-registrar/master.key
  holds 'administrators need none' administer list
  add_audience sealed.example
  is_issued sealed.example 'it issues tokens'
fi

nothing_amiss
