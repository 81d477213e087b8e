#!/bin/sh
# A guest in its second year: what administrators do to machines. Each phase is a boot of its own, so that what
# goes wrong in one keeps no other from being tried. Read with docs/operations.md, which says what is to be expected.
. ./library.sh
. ./settings.sh

text() { systemctl show -p StatusText --value "$tried"; }
state() { systemctl show -p ActiveState -p SubState -p NRestarts --value "$tried" | tr '\n' ' '; }
said() { note "$1: $(state)- $(text)"; }
# says NAME PATTERN: the status line tells it, while the unit starts and starts again
says() {
  if until_true 180 sh -c "systemctl show -p StatusText --value $tried | grep -q '$2'"; then
    ok "$1"
    said "$1"
  else bad "$1" "$(state)- $(text)"; fi
}
shown() {
  timeout 60 systemctl status --no-pager "$tried" 2>&1 | head -14 | while read -r line; do note "| $line"; done
}
# Does not wait: it will not become ready.
restart() { timeout "$patience" systemctl restart --no-block "$tried"; }
good() { is "$1" 200 "$(ask "$token" latest/meta-data/instance-id)"; }
serves() {
  [ -n "$cloud_pid" ] || cloud "$instance_id"
  holds "$1" ready
  token=$(new_token)
  good 'its tokens are good'
}
# goes_down COMMAND...: and what comes after it is in the same phase, begun anew with /root/before
goes_down() {
  echo "$token" >/root/before
  sync
  "$@" && sleep 300
  bad "$*" 'the machine goes on as before'
}
# comes_back: whether this phase was begun before
comes_back() {
  [ -e /root/before ] || return 1
  before=$(cat /root/before)
  rm /root/before
}

first() {
  patient
  cloud "$instance_id"
  configure
  holds 'apt installs the DEB' install_deb ./metabind.deb
  serves 'the agent becomes ready'
}

running() {
  serves 'the agent becomes ready after a reboot'

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
  timeout "$patience" systemctl restart metabindd.service
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
  is 'a second agent ends' 1 "$?"
  note "it says: $(tail -1 /tmp/second | cut -c1-300)"
  good 'a second agent takes nothing from the first'
}

# How a restarted agent sees /proc: what its mount says, and whether it is shown the first process.
proc_of_agent() {
  note "/proc here: $(sed -n 's/.* \/proc [^-]*- //p' /proc/self/mountinfo | head -1)"
  note "/proc of the agent: $(sed -n 's/.* \/proc [^-]*- //p' "/proc/$(main_pid)/mountinfo" | head -1)"
  note "as its user: $(setpriv --reuid metabind --regid metabind --init-groups cat /proc/1/cgroup 2>&1)"
}
sees_callers() {
  is "$1" caller.service "$(unit_of --unix-socket "$metadata" http://metadata)"
}
hidepid() {
  serves 'the agent becomes ready'
  mount -o remount,hidepid=2 /proc
  # From 247 on systemd gives the agent a /proc of its own, as the unit protects parts of it.
  if [ "$systemd" -ge 247 ]; then
    timeout "$patience" systemctl restart metabindd.service
    holds 'with hidepid=2 a restarted agent becomes ready' ready
    good 'and takes the tokens from before'
    sees_callers 'and sees of others what it needs'
  else
    restart
    says 'with hidepid=2 the status says so' 'cannot see in /proc'
    mount -o remount,hidepid=2,gid="$(id -g metabind)" /proc
    holds 'with gid= of the agent it becomes ready, without being asked to' ready
    good 'and takes the tokens from before'
  fi
  proc_of_agent

  since 247 'ProtectProc=' || return
  step 'ProtectProc=invisible'
  mkdir -p /etc/systemd/system/metabindd.service.d
  printf '[Service]\nProtectProc=invisible\n' >/etc/systemd/system/metabindd.service.d/proc.conf
  timeout "$patience" systemctl daemon-reload
  restart
  says 'where /proc hides callers the status says so' 'cannot see in /proc'
  until_true 120 sh -c '[ "$(systemctl show -p NRestarts --value metabindd.service)" -ge 2 ]'
  says 'and goes on to say it after a restart' 'cannot see in /proc'
  shown
  proc_of_agent
  rm -r /etc/systemd/system/metabindd.service.d
  timeout "$patience" systemctl daemon-reload
  holds 'when that is mended the agent becomes ready, without being asked to' ready
  good 'and takes the tokens from before'
}

late_tpm() {
  serves 'the agent becomes ready'
  impatient
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
}

soft_reboot() {
  since 254 'systemctl soft-reboot' || return
  if comes_back; then
    cloud "$instance_id"
    holds 'the agent becomes ready after a soft reboot' ready
    token=$before
    good 'and takes the tokens from before, as kernel, TPM and /run are the same'
  else
    serves 'the agent becomes ready'
    goes_down systemctl soft-reboot
  fi
}

kexec_reboot() {
  if comes_back; then
    cloud "$instance_id"
    holds 'the agent becomes ready after kexec, which does not reset the TPM' ready
    is 'a token from before is refused, as /run was lost' 401 "$(ask "$before" latest/meta-data/instance-id)"
    token=$(new_token)
    good 'and a new one is good'
  else
    serves 'the agent becomes ready'
    holds 'the kernel takes another' kexec -l vmlinuz --reuse-cmdline
    goes_down systemctl kexec
  fi
}

# To memory and back by the clock of the board (S3). The kernel has the TPM keep its state, and the firmware has it go on.
suspended() {
  serves 'the agent becomes ready'
  before=$(main_pid)
  revoked=$(new_token)
  holds 'a token is revoked' sh -c 'echo "$1" | timeout 900 metabind revoke -' sh "$revoked"
  short=$(new_token 120)
  is 'one of two minutes is good' 200 "$(ask "$short" latest/meta-data/instance-id)"
  went=$(date +%s)
  holds 'the machine is suspended to memory, and wakes after two and a half minutes' rtcwake -u -m mem -s 150
  is 'the kernel counts one suspend' 1 "$(cat /sys/power/suspend_stats/success)"
  note "it took $(($(date +%s) - went)) s; of the TPM the kernel says: $(dmesg | grep -i tpm | tail -1)"
  is 'the token of two minutes is refused' 401 "$(ask "$short" latest/meta-data/instance-id)"
  is 'the revoked one is refused' 401 "$(ask "$revoked" latest/meta-data/instance-id)"
  good 'one of six hours is good'
  holds 'the agent is ready' ready
  is 'it is the same as before' "$before" "$(main_pid)"
  said 'after the suspend'
  holds 'its TPM signs' sh -c 'timeout 900 metabind evidence --nonce "$(printf %064d 7)" | grep -q quote'
  before=$token
  token=$(new_token)
  good 'a new token is good'
  timeout "$patience" systemctl restart metabindd.service
  holds 'a restarted agent becomes ready' ready
  token=$before
  good 'and takes the tokens from before, as the TPM went on'
  is 'but not the revoked one' 401 "$(ask "$revoked" latest/meta-data/instance-id)"
}

no_tpm() {
  impatient
  cloud "$instance_id"
  says 'without a TPM the status says so' 'There is no TPM'
  until_true 300 sh -c '[ "$(systemctl show -p NRestarts --value metabindd.service)" -ge 1 ]'
  says 'and goes on to say it after a restart' 'There is no TPM'
  shown
  is 'a caller is not answered' 000 \
    "$(curl -s -m 10 -o /dev/null -w '%{http_code}' --unix-socket "$metadata" http://metadata/)"
}

read_only() {
  holds 'the root is read-only' sh -c '! touch /etc/x'
  cloud "$instance_id"
  serves 'with a read-only root the agent becomes ready'
  holds 'and its log says what is not written' sh -c \
    'journalctl -b -u metabindd.service | grep -q "the record of this instance is not written"'
  shown
  mount -t tmpfs -o mode=0700,uid="$(id -u metabind)",gid="$(id -g metabind)" none /var/lib/metabind
  systemctl restart metabindd.service
  serves 'with a tmpfs for its state, too'
}

registrar() { . ./registrar.sh; }
registrar_files() { . ./registrar-files.sh; }
registrar_booted() { . ./registrar-booted.sh; }

step "$phase"
"$phase"
