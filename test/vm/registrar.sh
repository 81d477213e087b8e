# Read by day-two.sh: the registrar beside the agent, from its package to its tokens, in the sandbox of its unit. What it
# is told is what docs/fleet-operations.md says.
. ./registrar-library.sh

id alice >/dev/null 2>&1 || useradd -m alice
lasting_files >/root/files.registrar
cp /etc/metabind/metabind.toml /root/metabind.toml.before
cloud "$instance_id"
tried=$registrar_unit
patient

step 'install'
holds 'apt installs the DEB beside the agent' install_deb ./metabind-registrar.deb
is 'which does not enable it' disabled "$(systemctl is-enabled "$tried")"
is 'nor start it' inactive "$(systemctl is-active "$tried")"
systemctl start --no-block "$tried"
says 'without a url the status says so' 'url'
shown
timeout "$patience" systemctl stop "$tried"

step 'from nothing'
install -d /etc/metabind-registrar
holds 'a certificate is made' openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
  -subj /CN=registrar.example -addext subjectAltName=DNS:registrar.example \
  -keyout /etc/metabind-registrar/key.pem -out /etc/metabind-registrar/certificate.pem
chown metabind-registrar: /etc/metabind-registrar/key.pem
install -m 0644 /etc/metabind-registrar/certificate.pem /etc/metabind/registrar-ca.pem
trust_cloud
cat >>/etc/metabind/registrar.toml <<END
url = "$url"

[listen]
address = "192.168.7.2"
port = 8443

[tls]
certificate = "/etc/metabind-registrar/certificate.pem"
key = "/etc/metabind-registrar/key.pem"

[trust]
identity_certificate = "/etc/metabind/cloud.pem"

[admission]
unanchored = "hold"

[api]
socket = "/run/metabind-registrar/api.socket"

[metrics]
port = 9191

[[audience]]
name = "first.example"
END
holds 'the configuration is valid' administer check
holds 'it is enabled and started' timeout "$patience" systemctl enable --now "$tried"
is 'systemd calls it active' active "$(systemctl is-active "$tried")"
is 'its status can be read' "serving $url" "$(text)"
exposed_at_most 'the exposure of the unit'
journalctl -b --no-pager -o cat _PID=1 + SYSLOG_IDENTIFIER=systemd | grep -o 'Unknown key.*' | sort | uniq -c |
  while read -r line; do note "systemd $systemd says: $line"; done
note "memory $(systemctl show -p MemoryCurrent --value "$tried") bytes"

step 'the sandbox'
status=/proc/$(main_pid)/status
is 'it runs as its user' metabind-registrar "$(stat -c %U "/proc/$(main_pid)")"
is 'without a capability' 0000000000000000 "$(sed -n 's/^CapEff:\t//p' "$status")"
is 'it can gain none' 1 "$(sed -n 's/^NoNewPrivs:\t//p' "$status")"
is 'system calls are filtered' 2 "$(sed -n 's/^Seccomp:\t//p' "$status")"
is 'it sees no device of the machine' '' \
  "$(inside "require('fs').readdirSync('/dev').filter((name) => /^(tpm|nvme|vd|ttyS)/.test(name))")"
if since 248 'it can execute no shell (NoExecPaths=)'; then
  is 'it can execute no shell' 126 "$(nsenter -t "$(main_pid)" -m -- /bin/sh -c true 2>/dev/null; echo $?)"
fi
is 'it can write nothing but its own' 'no,no,done' "$(inside "['/usr/x', '/etc/metabind/x',
  '/var/lib/metabind-registrar/x'].map((file) => { try { require('fs').writeFileSync(file, ''); return 'done' }
    catch { return 'no' } })")"
rm -f /var/lib/metabind-registrar/x
is 'its directory is its own alone' '700 metabind-registrar' "$(stat -c '%a %U' /var/lib/metabind-registrar)"
is 'so are database and master key' '600 metabind-registrar 600 metabind-registrar ' \
  "$(cd /var/lib/metabind-registrar && stat -c '%a %U' registrar.db master.key | tr '\n' ' ')"
is 'nobody beside this machine reaches it, and by no other address than localhost' '000 000' \
  "$(elsewhere -m 10 -o /dev/null -w '%{http_code}' "$url/healthz") $(here -m 10 -o /dev/null -w '%{http_code}' "$url/healthz")"
dropped_in "$tried" address 'IPAddressAllow=192.168.7.0/24'
holds 'with a drop-in it is restarted' timeout "$patience" systemctl restart "$tried"
is 'and reached from another machine' 200 "$(elsewhere -o /dev/null -w '%{http_code}' "$url/healthz")"

step 'the agent of this machine enrols'
sed -i 's|^identity_document.*|identity_certificate = "/etc/metabind/cloud.pem"|' /etc/metabind/metabind.toml
cat >>/etc/metabind/metabind.toml <<END
[registrar]
url = "$url"
address = "192.168.7.2"
authorities = "/etc/metabind/registrar-ca.pem"
END
mkdir -p /etc/systemd/system/metabindd.service.d
sed 's/192\.0\.2\.10/192.168.7.2/' /usr/share/doc/metabind/examples/registrar.conf \
  >/etc/systemd/system/metabindd.service.d/registrar.conf
systemctl daemon-reload
timeout "$patience" systemctl restart metabindd.service
holds 'it is held' until_true "$patience" sh -c './administer list | grep -q held'
administer list | while read -r line; do note "list: $line"; done
holds 'it is approved' administer approve "$instance_id"
timeout "$patience" systemctl restart metabindd.service
holds 'and enrolled' until_true "$patience" sh -c 'metabind status | grep -q "enrolled as"'
note "$(metabind status | grep '^registrar')"
is_issued first.example 'a token of the command line'
token=$(new_token)
is 'a token is given on the metadata socket' 200 "$(ask "$token" 'metabind/v1/token?audience=first.example')"
is 'but not to a user whom no rule names' POLICY_DENIED \
  "$(as alice metabind federate token --audience first.example 2>&1 | grep -o POLICY_DENIED)"

step 'reload'
before=$(main_pid)
printf '\n[[audience]]\nname = "reloaded.example"\n' >>/etc/metabind/registrar.toml
holds 'a reload succeeds' timeout "$patience" systemctl reload "$tried"
is 'and leaves it active' active "$(systemctl is-active "$tried")"
is 'as it was' "serving $url" "$(text)"
is_issued reloaded.example 'and an audience that was added has tokens'
cp /etc/metabind/registrar.toml /root/registrar.toml
echo 'what = [' >>/etc/metabind/registrar.toml
timeout "$patience" systemctl reload "$tried"
holds 'a configuration that is wrong is not taken over' until_true 60 sh -c \
  "journalctl -b -u $tried --no-pager -o cat | grep -q 'configuration not reloaded'"
cp /root/registrar.toml /etc/metabind/registrar.toml
is 'and it is the same process' "$before" "$(main_pid)"

step 'it recovers'
jwks >/root/jwks
administer list >/root/list
before=$(main_pid)
systemctl kill -s KILL "$tried"
holds 'it is started again after kill -9' until_serves "$before"
is 'its keys are the same' "$(cat /root/jwks)" "$(jwks)"
is 'and whom it knows' "$(sed 's/  20.*Z//' /root/list)" "$(administer list | sed 's/  20.*Z//')"
add_audience killed.example
is_issued killed.example 'a token is issued'
before=$(main_pid)
systemctl kill -s STOP "$tried"
holds 'the watchdog ends one that hangs' until_true "$patience" sh -c \
  "journalctl -b -u $tried --no-pager -o cat | grep -q 'Watchdog timeout'"
holds 'and another is started' until_serves "$before"
add_audience watched.example
is_issued watched.example 'which issues tokens'
nothing_amiss
