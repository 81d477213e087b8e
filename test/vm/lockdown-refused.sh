# Guest A, first boot, read by lockdown.sh where the kernel names nobody over TCP (control groups of version 1
# alone): lockdown may not be turned on, credentials URLs give nothing, and the socket serves everybody.

# refused NAME COMMAND...: the command fails with the reason, and no rule of firewall or routing is made
refused() {
  name=$1
  shift
  if timeout "$patience" "$@" >/tmp/refused 2>&1; then bad "$name" 'was not refused'; return; fi
  is "$name" 1 "$(grep -c 'LOCKDOWN_NOBODY_NAMED: .*Control groups of version 2 are not mounted' /tmp/refused)"
  is "$name, and nothing is changed" '' "$(nft list ruleset; ip -4 rule | grep 7764)"
}

step 'lockdown, where nobody could be named'
doctor >/tmp/doctor
is 'doctor calls it broken that TCP callers cannot be named' 1 \
  "$(grep -c 'broken *lockdown-nobody-named: .*Control groups of version 2' /tmp/doctor)"
refused 'lockdown is refused' metabind lockdown on --for 10m
refused 'lockdown is refused for containers too' metabind lockdown on --containers redirect
holds 'its preview says so' sh -c \
  "timeout $patience metabind lockdown on --preview | grep -q 'It cannot be turned on here: Control groups'"
plain_token >/tmp/clouds-token
is 'a plain client still reaches the cloud' 200 \
  "$(plain "$(cat /tmp/clouds-token)" latest/meta-data/instance-id)"
if from_agent; then bad 'the cloud itself answers it' "$(cat /tmp/alice/answer)"; else
  ok 'and the cloud itself answers it'
fi
holds 'observing, which refuses nobody, can be turned on' timeout "$patience" metabind lockdown on --observe
is 'and is in force' observe "$(guarded)"
is 'a plain client gets on as before' 200 "$(plain "$(cat /tmp/clouds-token)" latest/meta-data/zone-id)"
holds 'and is seen' until_true 60 sh -c 'metabind observe --json | grep -q "\"uid\":'"$(id -u alice)"'[,}]"'
timeout "$patience" metabind observe | while read -r line; do note "| $line"; done
holds 'and it ends' timeout "$patience" metabind lockdown off
is 'with nothing left' '' "$(nft list ruleset)"

step 'containers'
pod_network
is 'a container on the socket is known by its user and container' "$pod_is" \
  "$(pod_seen --unix-socket "$metadata" http://metadata)"

step 'the credentials URL'
as alice metabind credential --uri >/tmp/credentials 2>&1
is 'a user gets no credentials URL, as nobody could say who asks there' 1 \
  "$(grep -c LISTEN_URI_UNNAMED /tmp/credentials)"
as alice metabind exec --with env printenv ALIBABA_CLOUD_ACCESS_KEY_SECRET >/tmp/credentials 2>&1
is 'but the credentials themselves, in the environment' 0 "$?"
