#!/bin/sh
# Guest A, first boot: installs, serves, survives.
. ./library.sh
. ./settings.sh

useradd -m alice
patient
files >/root/files.before
cloud "$instance_id"

step 'install, as a user would'
holds 'the kernel provides /dev/tpmrm0' test -c /dev/tpmrm0
configure
holds 'apt installs the DEB' install_deb ./metabind.deb
holds 'the agent becomes ready' ready
is 'systemd calls it active' active "$(systemctl is-active metabindd.service)"
is 'its status can be read' "serving $instance_id" \
  "$(systemctl show -p StatusText --value metabindd.service)"
for unit in metabindd.service metabind.socket metabind-admin.socket; do
  is "$unit is enabled" enabled "$(systemctl is-enabled $unit)"
done
is 'the agent runs as metabind' metabind "$(stat -c %U "/proc/$(main_pid)")"
is 'the agent has no capability' 0000000000000000 \
  "$(sed -n 's/^CapEff:\t//p' "/proc/$(main_pid)/status")"
is 'the agent sees one device' tpmrm0 \
  "$(inside "require('fs').readdirSync('/dev').filter((name) => /^(tpm|nvme|ttyS)/.test(name))")"
if since 248 'the agent can execute no shell (NoExecPaths=)'; then
  is 'the agent can execute no shell' 126 \
    "$(nsenter -t "$(main_pid)" -m -- /bin/sh -c true 2>/dev/null; echo $?)"
fi
is 'the agent can write nothing but its own' EROFS \
  "$(inside "(() => { try { require('fs').writeFileSync('/usr/x', '') } catch (e) { return e.code } })()")"
exposed_at_most 'the exposure of the unit'
journalctl -b --no-pager -o cat _PID=1 + SYSLOG_IDENTIFIER=systemd | grep -o 'Unknown key.*' | sort | uniq -c |
  while read -r line; do note "systemd $systemd says: $line"; done
note "memory $(systemctl show -p MemoryCurrent --value metabindd.service) bytes"

step 'an ordinary user'
alice_token=$(as alice curl -s -m "$patience" --unix-socket "$metadata" -X PUT \
  http://metadata/latest/api/token -H 'X-aliyun-ecs-metadata-token-ttl-seconds: 600')
is 'an ordinary user reads metadata by curl' "$instance_id" \
  "$(as alice curl -s -m "$patience" --unix-socket "$metadata" \
    -H "X-aliyun-ecs-metadata-token: $alice_token" http://metadata/latest/meta-data/instance-id)"
as alice curl -s -m "$patience" --unix-socket "$metadata" -H "X-aliyun-ecs-metadata-token: $alice_token" \
  http://metadata/metabind/v1/whoami >/tmp/whoami
holds "the agent sees the user's real uid" grep -q "\"uid\":$(id -u alice)[,}]" /tmp/whoami
is 'the agent sees the unit of a service' "caller.service" \
  "$(unit_of --unix-socket "$metadata" http://metadata)"
as alice sleep 60 &
is "the agent can read /proc/PID/cgroup of the user's process" "$(cat /proc/$!/cgroup)" \
  "$(inside "require('fs').readFileSync('/proc/$!/cgroup', 'utf8').trim()")"
if as alice metabind status >/dev/null 2>&1; then bad 'admin socket' 'open to everybody'; else
  ok 'the admin socket is closed to an ordinary user'
fi

step 'what the other guest gets'
token=$(new_token)
is 'the token is good here' 200 "$(ask "$token" latest/meta-data/instance-id)"
echo "@data state $(tar -C / -cz --exclude='*.sock' run/metabind var/lib/metabind | base64 -w0)"
echo "@data token $token"
echo "$token" >/root/token

step 'it recovers'
before=$(main_pid)
systemctl kill -s KILL metabindd.service
is 'a token outlives kill -9 of the agent' 200 "$(ask "$token" latest/meta-data/instance-id)"
holds 'it is another process' test "$before" != "$(main_pid)"
holds 'a reload succeeds' timeout "$patience" systemctl reload metabindd.service
is 'and leaves it active' active "$(systemctl is-active metabindd.service)"

if [ -z "$short" ]; then
  mkdir -p /etc/systemd/system/metabindd.service.d
  printf '[Service]\nWatchdogSec=10\nTimeoutAbortSec=2\n' >/etc/systemd/system/metabindd.service.d/t.conf
  systemctl daemon-reload
  timeout "$patience" systemctl restart metabindd.service
  ready
  before=$(main_pid)
  systemctl kill -s STOP metabindd.service
  holds 'the watchdog ends an agent that hangs' until_true "$patience" sh -c \
    "journalctl -u metabindd --no-pager -o cat | grep -q 'Watchdog timeout'"
  is 'and the token is good with the next one' 200 "$(ask "$token" latest/meta-data/instance-id)"
  holds 'which is another process' test "$before" != "$(main_pid)"
  rm -r /etc/systemd/system/metabindd.service.d
  systemctl daemon-reload
  timeout "$patience" systemctl restart metabindd.service
  ready
fi

step 'upgrade under load'
rm -f /tmp/load.stop
"$sim/bin/node" load-until.mjs "$metadata" "$token" /tmp/load.stop >/tmp/load.json 2>/tmp/load.err &
load=$!
sleep 2
holds 'apt upgrades the DEB' install_deb ./metabind-next.deb
ready
# And restarts while two others want the processors.
sh -c 'while :; do :; done' & busy=$!
sh -c 'while :; do :; done' & busy="$busy $!"
turns=${short:+1}
for turn in $(seq "${turns:-4}"); do timeout "$patience" systemctl restart metabindd.service; done
sleep 1
kill $busy
# If a start took longer than the unit allows, systemd is at another.
ready
touch /tmp/load.stop
wait "$load"
note "load $(cat /tmp/load.json /tmp/load.err)"
holds 'the upgrade and restarts beside two busy loops lost no request and broke no token' grep -q '"failures":{}' /tmp/load.json
is 'the new version is installed' 99.0.0-1 "$(dpkg-query -W -f '${Version}' metabind)"

. ./lockdown.sh

step 'the TPM goes away, last of all: in this machine its driver does not find it again'
if [ -z "$short" ]; then
  driver=/sys/bus/acpi/drivers/tpm_crb
  printf '[tpm]\nrecheck_seconds = 1\n' >>/etc/metabind/metabind.toml
  timeout "$patience" systemctl restart metabindd.service
  ready
  basename "$driver"/MSFT0101:* >"$driver/unbind"
  holds 'readiness is withdrawn when the TPM goes' until_true "$patience" sh -c \
    'systemctl show -p ActiveState --value metabindd | grep -qx reloading'
  note "$(systemctl show -p StatusText --value metabindd.service)"
  is 'and a token is not accepted then' 503 "$(ask_once "$token" latest/meta-data/instance-id)"
fi
