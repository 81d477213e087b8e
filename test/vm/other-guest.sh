#!/bin/sh
# Guest B: another TPM. What was A's is worth nothing here.
. ./library.sh
. ./settings.sh

foreign=$(cat foreign-token)
cloud "$instance_id"
patient
configure
holds 'apt installs the DEB' install_deb ./metabind.deb
holds 'the agent becomes ready' ready
is "the instance is another one" "serving $instance_id" \
  "$(systemctl show -p StatusText --value metabindd.service)"
is 'a token of its own is good' 200 "$(ask "$(new_token)" latest/meta-data/instance-id)"
is "A's token is refused" 401 "$(ask "$foreign" latest/meta-data/instance-id)"
timeout "$patience" metabind inspect foreign-token >/tmp/inspect 2>&1
is 'and known to be foreign' 4 "$?"
holds 'and recorded as that' sh -c "journalctl -u metabindd --no-pager -o cat | grep -q 'token.foreign'"

# Everything that A's agent has on disk, and a metadata server that takes this instance for A.
timeout "$patience" systemctl stop metabind.socket metabind-admin.socket metabindd.service
rm -rf /run/metabind/* /var/lib/metabind
base64 -d foreign-state | tar -C / -xz
chown -R metabind:metabind /run/metabind /var/lib/metabind
cloud "$foreign_id"
timeout "$patience" systemctl start metabind.socket metabind-admin.socket
timeout "$patience" systemctl start metabindd.service
holds "the agent becomes ready on A's files and A's name" ready
is 'the instance now says that it is A' "serving $foreign_id" \
  "$(systemctl show -p StatusText --value metabindd.service)"
is "A's token is refused all the same" 401 "$(ask "$foreign" latest/meta-data/instance-id)"

# Lockdown made by hand, without a unit that could be stopped. The drop-in is not needed for the rules.
printf '[transparent]\nenabled = true\n' >>/etc/metabind/metabind.toml
timeout "$patience" systemctl restart metabindd.service
ready
if [ "$cgroup" = v1 ]; then on=--observe is=observe; else on=--before-agent is=enforce; fi
holds 'lockdown is turned on by hand' timeout "$patience" metabind lockdown on $on
is 'and in force' $is "$(guarded)"
holds 'apt removes the DEB' timeout "$patience" apt-get remove -y -q metabind
is 'a removal removes the table' '' "$(nft list tables)"
