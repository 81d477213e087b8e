# Read by day-two.sh, after registrar-files.sh and a reboot: the registrar with a master key that the TPM keeps, its upgrade,
# its removal and its purge.
. ./registrar-library.sh
tried=$registrar_unit

step 'after a reboot'
after_reboot
add_audience booted.example
is_issued booted.example 'a token is issued'

step 'upgrade'
before=$(main_pid)
holds 'apt upgrades the DEB' install_deb ./metabind-registrar-next.deb
holds 'another process serves' until_serves "$before"
is 'the new version is installed' 99.0.0-1 "$(dpkg-query -W -f '${Version}' metabind-registrar)"
is 'its keys are the same' "$(cat /root/jwks)" "$(jwks)"
add_audience upgraded.example
is_issued upgraded.example 'a token is issued'
before=$(main_pid)
holds 'apt installs it again' timeout "$patience" apt-get install -y -q --reinstall ./metabind-registrar-next.deb
holds 'and another process serves' until_serves "$before"
is 'its keys are still the same' "$(cat /root/jwks)" "$(jwks)"
nothing_amiss

step 'the package goes'
holds 'apt removes the DEB' timeout "$patience" apt-get remove -y -q metabind-registrar
is 'it is stopped' inactive "$(systemctl is-active "$tried")"
holds 'its database is still there' test -s /var/lib/metabind-registrar/registrar.db
holds 'and its configuration' grep -q "^url = \"$url\"" /etc/metabind/registrar.toml
holds 'apt installs it after a removal' install_deb ./metabind-registrar-next.deb
is 'what was enabled is' enabled "$(systemctl is-enabled "$tried")"
holds 'it starts' timeout "$patience" systemctl start "$tried"
is 'with what it knew' "$(cat /root/jwks)" "$(jwks)"
# What the administrator put there, and the agent keeps of its enrolment.
rm -r "/etc/systemd/system/$tried.d" /etc/metabind-registrar /etc/metabind/registrar-ca.pem /etc/metabind/cloud.pem
rm -f /etc/metabind/registrar-master.key.cred /var/lib/metabind/registrar.json
holds 'apt purges the DEB' timeout "$patience" apt-get purge -y -q metabind-registrar
impatient
is 'it is gone' 'inactive not-found' \
  "$(systemctl is-active "$tried") $(systemctl show -p LoadState --value "$tried")"
is 'no unit has failed' '' "$(systemctl list-units --failed --no-legend --plain)"
tried=metabindd.service
cp /root/metabind.toml.before /etc/metabind/metabind.toml
rm -r /etc/systemd/system/metabindd.service.d
timeout "$patience" systemctl daemon-reload
timeout "$patience" systemctl restart metabindd.service
serves 'the agent is as it was before'
lasting_files >/root/files.after
is 'a purge leaves nothing' '' "$(diff /root/files.registrar /root/files.after)"
is 'nor what systemd keeps of its units' '' "$(find /etc/systemd /var/lib/systemd -name '*registrar*')"
