#!/bin/sh
# Guest A, after a reboot: started by systemd alone, before there is a cloud to ask.
. ./library.sh
. ./settings.sh

token=$(cat /root/token)
is 'the socket is there before the agent is ready' active "$(systemctl is-active metabind.socket)"
holds 'the status says what it waits for' until_true "$patience" sh -c \
  "systemctl show -p StatusText --value metabindd.service | grep -q 'which instance this is, waiting'"
cloud "$instance_id"
is 'a caller waits for the agent and is answered' 401 "$(ask "$token" latest/meta-data/instance-id)"
ok 'and the token from before the reboot is refused'
is 'a new token is good' 200 "$(ask "$(new_token)" latest/meta-data/instance-id)"
is 'no unit has failed' '' "$(systemctl list-units --failed --no-legend --plain)"

if [ "$cgroup" = v1 ]; then
  is 'the unit of lockdown fails where nobody could be named' failed \
    "$(timeout "$patience" systemctl enable -q --now metabind-lockdown.service 2>/dev/null;
      systemctl is-active metabind-lockdown.service)"
  holds 'and says why' sh -c \
    "journalctl -u metabind-lockdown --no-pager -o cat | grep -q LOCKDOWN_NOBODY_NAMED"
  is 'and has made no rule' '' "$(nft list ruleset)"
  timeout "$patience" systemctl enable -q nftables.service
  exit
fi

# Turned on and confirmed before the reboot, but not enabled.
is 'lockdown is gone after a reboot' off "$(guarded)"
doctor >/tmp/doctor
holds 'and doctor says so' grep -q 'hint *lockdown-off' /tmp/doctor
holds 'it is enabled as a unit' timeout "$patience" systemctl enable --now metabind-lockdown.service
is 'and in force' enforce "$(guarded)"
is 'a plain client is answered' 200 "$(plain "$(plain_token)" latest/meta-data/instance-id)"
holds 'by the agent' from_agent
# Debian's own firewall service flushes all tables when it starts; so it does at the next boot.
timeout "$patience" systemctl enable -q nftables.service
