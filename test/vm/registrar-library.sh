# Read by the scripts of the registrar's phases.

registrar_unit=metabind-registrar.service
url=https://registrar.example:8443

# administer VERB...: as its user, as `sudo -u metabind-registrar metabind-registrar` has it
cat >administer <<'SCRIPT'
#!/bin/sh
exec setpriv --reuid metabind-registrar --regid metabind-registrar --init-groups metabind-registrar "$@"
SCRIPT
chmod +x administer
administer() { timeout "$patience" ./administer "$@"; }
# here, elsewhere CURL-OPTION... URL: from this machine, and from the other end of the cable
here() {
  curl -s -m "$patience" --cacert /etc/metabind/registrar-ca.pem --resolve registrar.example:8443:192.168.7.2 "$@"
}
elsewhere() {
  ip netns exec cloud curl -s -m "$patience" --cacert /etc/metabind/registrar-ca.pem \
    --resolve registrar.example:8443:192.168.7.2 "$@"
}
# lasting_files: but for those that the agent has while it runs
lasting_files() { files | grep -v '^/run/metabind/'; }
# jwks: the keys that verifiers elsewhere find by discovery
jwks() { elsewhere "$(elsewhere "$url/.well-known/openid-configuration" | sed 's/.*"jwks_uri":"\([^"]*\)".*/\1/')"; }
# trust_cloud: the certificate of the cloud that this boot has
trust_cloud() { install -m 0644 /run/cloud.pem /etc/metabind/cloud.pem; }
# dropped_in UNIT NAME LINE...: a drop-in with these lines
dropped_in() {
  mkdir -p "/etc/systemd/system/$1.d"
  drop_in=/etc/systemd/system/$1.d/$2.conf
  shift 2
  { echo '[Service]'; printf '%s\n' "$@"; } >"$drop_in"
  timeout "$patience" systemctl daemon-reload
}
# until_serves PID: another process than that does. Of one that was killed systemd keeps the status.
cat >serves_since <<SCRIPT
#!/bin/sh
pid=\$(systemctl show -p MainPID --value $registrar_unit)
[ "\$pid" != 0 ] && [ "\$pid" != "\$1" ] && curl -sf -m 10 -o /dev/null --cacert /etc/metabind/registrar-ca.pem \
  --resolve registrar.example:8443:192.168.7.2 $url/healthz
SCRIPT
chmod +x serves_since
until_serves() { until_true "$patience" ./serves_since "$1"; }
# add_audience NAME: an audience for which no token is kept
add_audience() {
  printf '\n[[audience]]\nname = "%s"\n' "$1" >>/etc/metabind/registrar.toml
  timeout "$patience" systemctl reload "$tried"
}
# is_issued AUDIENCE NAME: the agent has a token of the registrar for it, which verifies by the keys that others find
is_issued() {
  timeout "$patience" metabind federate token --audience "$1" >/root/jwt 2>/root/jwt.err
  jwks >/root/jwks.now
  is "$2, which verifies by the published keys" "true $url aliyun:$instance_id $1" \
    "$("$sim/bin/node" verify-token.mjs /root/jwt /root/jwks.now 2>&1; sed 's/^/ /' /root/jwt.err)"
}
# nothing_amiss: what the kernel says of system calls that ended a process, and of what an LSM refused; and systemd of units
nothing_amiss() {
  is 'the kernel has refused nothing' '' \
    "$(journalctl -k -b --no-pager -o cat | grep -iE 'type=1326|type=1400|apparmor="DENIED"|avc: ')"
  is 'no unit has failed' '' "$(systemctl list-units --failed --no-legend --plain)"
  journalctl -b -u "$registrar_unit" -o cat --no-pager | grep '"level":"error"\|^metabind-registrar:' | sort | uniq -c |
    cut -c1-300 | while read -r line; do note "| $line"; done
}
# after_reboot: by systemd alone, before there is a network; then with the cloud of this boot
after_reboot() {
  # The agent would be refused until the registrar knows what that cloud signs with.
  timeout "$patience" systemctl stop metabind.socket metabind-admin.socket metabindd.service
  is 'it is enabled' enabled "$(systemctl is-enabled "$tried")"
  says 'it is started, and its status says that it lacks its address' '192\.168\.7\.2'
  cloud "$instance_id"
  holds 'with the address it serves, without being asked to' until_serves 0
  trust_cloud
  holds 'a reload succeeds' timeout "$patience" systemctl reload "$tried"
  is 'it knows the same instance' active "$(administer list | grep -o active)"
  is 'its keys are the same' "$(cat /root/jwks)" "$(jwks)"
  timeout "$patience" systemctl start metabind.socket metabind-admin.socket metabindd.service
  holds 'the agent enrols again' until_true "$patience" sh -c 'metabind status | grep -q "enrolled as"'
}
