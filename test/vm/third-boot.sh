#!/bin/sh
# Guest A, after another reboot, now with lockdown enabled as a unit; then the package goes.
. ./library.sh
. ./settings.sh

started() { systemctl show -p "$2" --value "$1"; }

holds 'the status says what the agent waits for' until_true "$patience" sh -c \
  "systemctl show -p StatusText --value metabindd.service | grep -q 'which instance this is, waiting'"
is 'lockdown is in force before the agent is ready' enforce "$(guarded)"
holds 'its unit was done before the agent was started' test \
  "$(started metabind-lockdown.service ExecMainExitTimestampMonotonic)" -lt \
  "$(started metabindd.service ExecMainStartTimestampMonotonic)"
holds 'and after nftables.service, which flushes all rules' test \
  "$(started nftables.service ExecMainExitTimestampMonotonic)" -lt \
  "$(started metabind-lockdown.service ExecMainStartTimestampMonotonic)"
cloud "$instance_id"
holds 'the agent becomes ready' ready
is 'a plain client is answered' 200 "$(plain "$(plain_token)" latest/meta-data/instance-id)"
holds 'by the agent' from_agent
is 'and refused without a token' 403 "$(plain '' latest/meta-data/instance-id)"
is 'doctor finds nothing wrong' 'nothing is wrong' "$(doctor)"
is 'no unit has failed' '' "$(systemctl list-units --failed --no-legend --plain)"

step 'the rules are flushed by somebody else'
timeout "$patience" systemctl reload nftables.service
is 'a reload of nftables.service flushes lockdown' off "$(guarded)"
doctor >/tmp/doctor
is 'doctor finds it, and fails' 1 "$?"
holds 'with what to do' grep -q 'systemctl reload-or-restart metabind-lockdown' /tmp/doctor
holds 'which is done' timeout "$patience" systemctl reload-or-restart metabind-lockdown.service
is 'and lockdown is in force again' enforce "$(guarded)"
is 'as a plain client sees' 403 "$(plain '' latest/meta-data/instance-id)"

step 'the package goes, while lockdown is in force and enabled'
timeout "$patience" systemctl disable -q nftables.service
holds 'apt purges the DEB' timeout "$patience" apt-get purge -y -q metabind
for unit in metabindd.service metabind.socket metabind-admin.socket metabind-credentials-uri.socket \
  metabind-containers.socket metabind-lockdown.service; do
  is "$unit is gone" inactive "$(systemctl is-active $unit)"
done
is 'a purge removes the table, and no other' 'table inet filter' "$(nft list tables)"
is 'a plain client reaches the cloud again' 200 "$(plain "$(plain_token)" latest/meta-data/instance-id)"
# What the administrator put there.
rm -r /etc/systemd/system/metabindd.service.d
files >/root/files.after
is 'a purge leaves nothing' '' "$(diff /root/files.before /root/files.after)"
