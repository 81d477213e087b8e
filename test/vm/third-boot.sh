#!/bin/sh
# Guest A, after another reboot, now with lockdown enabled as a unit; then the package goes.
. ./library.sh
. ./settings.sh

holds 'the status says what the agent waits for' until_true "$patience" sh -c \
  "systemctl show -p StatusText --value metabindd.service | grep -q 'which instance this is, waiting'"
if [ "$cgroup" = v1 ]; then
  is 'the unit of lockdown failed at boot, as nobody could be named' failed \
    "$(systemctl is-active metabind-lockdown.service)"
  cloud "$instance_id"
  holds 'and the agent becomes ready all the same' ready
  is 'a plain client reaches the cloud itself' 200 "$(plain "$(plain_token)" latest/meta-data/instance-id)"
  is 'no other unit has failed' metabind-lockdown.service \
    "$(systemctl list-units --failed --no-legend --plain | cut -d' ' -f1)"
else
  . ./lockdown-at-boot.sh
fi

step 'the package goes, while lockdown is in force and enabled'
timeout "$patience" systemctl disable -q nftables.service
holds 'apt purges the DEB' timeout "$patience" apt-get purge -y -q metabind
for unit in metabindd.service metabind.socket metabind-admin.socket metabind-credentials-uri.socket \
  metabind-containers.socket metabind-lockdown.service; do
  is "$unit is gone" inactive "$(systemctl is-active $unit)"
done
is 'none of its units has failed' '' "$(systemctl list-units --failed --no-legend --plain)"
is 'a purge removes the table, and no other' 'table inet filter' "$(nft list tables)"
is 'a plain client reaches the cloud again' 200 "$(plain "$(plain_token)" latest/meta-data/instance-id)"
# What the administrator put there.
rm -r /etc/systemd/system/metabindd.service.d
files >/root/files.after
is 'a purge leaves nothing' '' "$(diff /root/files.before /root/files.after)"
