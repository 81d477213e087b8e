# Guest A, after another reboot, read by third-boot.sh: the unit of lockdown did its work before everything else.

started() { systemctl show -p "$2" --value "$1"; }

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
