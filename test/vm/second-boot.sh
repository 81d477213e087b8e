#!/bin/sh
# Guest A, after a reboot: started by systemd alone, before there is a cloud to ask.
. ./library.sh
. ./settings.sh

token=$(cat /root/token)
is 'the socket is there before the agent is ready' active "$(systemctl is-active metabind.socket)"
holds 'the status says what it waits for' until_true 60 sh -c \
  "systemctl show -p StatusText --value metabindd.service | grep -q 'which instance this is, waiting'"
cloud "$instance_id"
is 'a caller waits for the agent and is answered' 401 "$(ask "$token" latest/meta-data/instance-id)"
ok 'and the token from before the reboot is refused'
is 'a new token is good' 200 "$(ask "$(new_token)" latest/meta-data/instance-id)"
is 'no unit has failed' '' "$(systemctl list-units --failed --no-legend --plain)"

holds 'apt purges the DEB' timeout 100 apt-get purge -y -q metabind
for unit in metabindd.service metabind.socket metabind-admin.socket; do
  is "$unit is gone" inactive "$(systemctl is-active $unit)"
done
files >/root/files.after
is 'a purge leaves nothing' '' "$(diff /root/files.before /root/files.after)"
