#!/bin/sh
# A guest in its second year: what administrators do to machines, one thing after another. Each is tried on
# an agent that serves, and undone. Read with docs/operations.md, which says what is to be expected.
. ./library.sh
. ./settings.sh

text() { systemctl show -p StatusText --value metabindd.service; }
state() { systemctl show -p ActiveState -p SubState -p NRestarts --value metabindd.service | tr '\n' ' '; }
said() { note "$1: $(state)- $(text)"; }
# says NAME PATTERN: the status line tells it, while the unit starts and starts again
says() {
  if until_true 180 sh -c "systemctl show -p StatusText --value metabindd.service | grep -q '$2'"; then
    ok "$1"
  else bad "$1" "$(state)- $(text)"; fi
  said "$1"
}
restart() { timeout "$patience" systemctl restart --no-block metabindd.service; }
good() { is "$1" 200 "$(ask "$token" latest/meta-data/instance-id)"; }

# --- after each of the boots ---------------------------------------------------------------------
after_soft_reboot() {
  step 'after a soft reboot'
  token=$(cat /root/token)
  cloud "$instance_id"
  holds 'the agent becomes ready after a soft reboot' ready
  good 'and takes the tokens from before, as kernel, TPM and /run are the same'
  said 'after a soft reboot'
  rm /root/phase
  try_kexec
}
try_kexec() {
  step 'kexec'
  echo kexec >/root/phase
  sync
  if kexec -l vmlinuz --reuse-cmdline; then systemctl kexec; sleep 900; fi
  bad 'kexec' 'the kernel took no other'
  rm /root/phase
}
after_kexec() {
  step 'after kexec'
  rm /root/phase
  cloud "$instance_id"
  holds 'the agent becomes ready after kexec, which does not reset the TPM' ready
  is 'a token from before is refused, as /run was lost' 401 \
    "$(ask "$(cat /root/token)" latest/meta-data/instance-id)"
  token=$(new_token)
  good 'and a new one is good'
  said 'after kexec'
}
without_tpm() {
  step 'a machine without a TPM'
  cloud "$instance_id"
  says 'without a TPM the status says so' 'There is no TPM'
  until_true 300 sh -c "[ \"\$(systemctl show -p NRestarts --value metabindd.service)\" -ge 1 ]"
  says 'and goes on to say it after a restart' 'There is no TPM'
  systemctl status --no-pager metabindd.service 2>&1 | head -14 | while read -r line; do note "| $line"; done
  is 'a caller is not answered' 000 \
    "$(curl -s -m 10 -o /dev/null -w '%{http_code}' --unix-socket "$metadata" http://metadata/)"
}
read_only_root() {
  step 'a root that is mounted read-only'
  holds 'the root is read-only' sh -c '! touch /etc/x'
  cloud "$instance_id"
  holds 'the agent becomes ready with a read-only root' ready
  said 'read-only root'
  token=$(new_token)
  good 'and its tokens are good'
}

case "$phase $(cat /root/phase 2>/dev/null)" in
  'first soft-reboot') after_soft_reboot; exit ;;
  'first kexec') after_kexec; exit ;;
  'no-tpm '*) without_tpm; exit ;;
  'read-only '*) read_only_root; exit ;;
esac

# --- the first boot ------------------------------------------------------------------------------
useradd -m alice
cloud "$instance_id"
configure
holds 'apt installs the DEB' install_deb ./metabind.deb
holds 'the agent becomes ready' ready
token=$(new_token)
echo "$token" >/root/token

step 'systemctl daemon-reexec'
before=$(main_pid)
timeout "$patience" systemctl daemon-reexec
is 'a daemon-reexec leaves the agent alone' "$before" "$(main_pid)"
good 'and it serves'
timeout "$patience" systemctl restart metabindd.service
ready
good 'and can be restarted after it'

step '/run mounted noexec'
mount -o remount,noexec /run
restart
holds 'with /run mounted noexec the agent becomes ready' ready
good 'and serves'
mount -o remount,exec /run

step 'a caller in a time namespace'
is 'a caller whose clock since boot is another is answered' 200 \
  "$(unshare -T --boottime 1000000 --monotonic 1000000 curl -s -m "$patience" -o /dev/null -w '%{http_code}' \
    --unix-socket "$metadata" -H "X-aliyun-ecs-metadata-token: $token" \
    http://metadata/latest/meta-data/instance-id)"

step 'a second agent beside the first'
timeout 120 setpriv --reuid metabind --regid metabind --init-groups \
  /usr/lib/metabind/bin/node /usr/lib/metabind/metabindd.cjs >/tmp/second 2>&1
note "a second agent ends with $? and says: $(tail -1 /tmp/second | cut -c1-300)"
good 'a second agent takes nothing from the first'

step 'hidepid=2'
mount -o remount,hidepid=2 /proc
restart
says 'with hidepid=2 the status says so' '/proc'
sleep 10
said 'ten seconds later'
journalctl -u metabindd -n 4 --no-pager -o cat | cut -c1-300 | while read -r line; do note "| $line"; done
mount -o remount,hidepid=2,gid="$(id -g metabind)" /proc
restart
holds 'with gid= of the agent it becomes ready' ready
good 'and serves'
mount -o remount,hidepid=0,gid=0 /proc

step 'a TPM that appears late'
numbers=$(stat -c '%Hr %Lr' /dev/tpmrm0 2>/dev/null)
case "$numbers" in [0-9]*) ;; *) numbers=$(stat -c '0x%t 0x%T' /dev/tpmrm0) ;; esac
rm /dev/tpmrm0
restart
says 'while it lacks the status says so' 'There is no TPM'
# shellcheck disable=SC2086 # two numbers
mknod -m 0660 /dev/tpmrm0 c $numbers
chown tss:tss /dev/tpmrm0
holds 'the agent becomes ready when it is there' ready
said 'with a TPM that appeared late'
good 'and takes the tokens from before'

if since 254 'systemctl soft-reboot'; then
  step 'systemctl soft-reboot'
  echo soft-reboot >/root/phase
  sync
  systemctl soft-reboot
  sleep 900
  bad 'systemctl soft-reboot' 'did not happen'
else
  try_kexec
fi
