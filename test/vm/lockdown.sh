# Guest A, first boot, read by first-boot.sh: lockdown by hand and the credentials URL, with the sandbox
# of the shipped unit and the shipped drop-in.

drop_in=/usr/share/doc/metabind/examples/loopback-listeners.conf
is 'doctor finds nothing wrong with a fresh installation' 'nothing is wrong' "$(doctor)"
older_hints | while read -r line; do note "doctor: $line"; done
if [ "$systemd" -lt 248 ]; then
  holds 'doctor names what this systemd does not enforce' grep -q 'systemd-older: .*NoExecPaths=' /tmp/doctor.all
fi
if [ "$cgroup" = v1 ]; then
  holds 'and what needs cgroup v2' grep -q 'cgroups-older: .*IPAddressDeny=' /tmp/doctor.all
fi
cat >>/etc/metabind/metabind.toml <<'TOML'
[transparent]
enabled = true
[credentials_uri]
enabled = true
TOML
timeout "$patience" systemctl restart metabindd.service
ready
if [ "$cgroup" = v1 ]; then note 'not checked with cgroup v1: IPAddressDeny= needs v2'; else
  is 'without the drop-in the sandbox keeps callers from the loopback listeners' 000 \
    "$(curl -s -m 10 -o /dev/null -w '%{http_code}' http://127.0.0.1:9182/)"
fi
is 'doctor sees that anybody could take the port of credentials URLs' 1 \
  "$(doctor | grep -c 'any user can take 127.0.0.1:9182')"
timeout "$patience" systemctl enable -q metabind-credentials-uri.socket
holds 'a socket unit takes it, as the agent gives it up for a restart' \
  timeout "$patience" systemctl restart metabindd.service metabind-credentials-uri.socket
mkdir -p /etc/systemd/system/metabindd.service.d
holds 'the package has the drop-in' cp "$drop_in" /etc/systemd/system/metabindd.service.d/
cat >>/etc/metabind/policy.toml <<'TOML'
[[rule]]
name = "alice reads the credentials of the role"
effect = "allow"
users = ["alice"]
paths = ["/*/meta-data/ram/security-credentials/*"]
TOML
systemctl daemon-reload
timeout "$patience" systemctl restart metabindd.service
holds 'with the drop-in the agent becomes ready' ready
exposed_at_most 'and the exposure of the unit'

if [ "$cgroup" = v1 ]; then
  . ./lockdown-refused.sh
  return
fi

step 'lockdown'
is 'lockdown is off until it is turned on' off "$(guarded)"
plain_token >/tmp/clouds-token
is 'a plain client speaks to the cloud then' 200 "$(plain "$(cat /tmp/clouds-token)" latest/meta-data/instance-id)"
if from_agent; then bad 'the cloud itself answered' "$(cat /tmp/alice/answer)"; else
  ok 'and the cloud itself answers it'
fi
holds 'lockdown is turned on for a while' timeout "$patience" metabind lockdown on --for 10m
is 'it is in force' enforce "$(guarded)"
plain_token >/tmp/agents-token
timeout "$patience" metabind inspect /tmp/agents-token >/tmp/inspect 2>&1
is "a plain PUT is answered by the agent: a token of this instance, another user's than root" 6 "$?"
is 'a plain read with it is answered' 200 "$(plain "$(cat /tmp/agents-token)" latest/meta-data/zone-id)"
holds 'by the agent, which asked the cloud itself' grep -qi '^x-metabind-cache: miss' /tmp/alice/answer
is 'a plain read without a token is refused' 403 "$(plain '' latest/meta-data/instance-id)"
is "the cloud's own token is refused" 401 \
  "$(plain "$(cat /tmp/clouds-token)" latest/meta-data/instance-id)"
is 'the agent sees the unit of a service that it redirects' caller.service \
  "$(unit_of http://100.100.100.200)"
is 'root is redirected as well' 403 \
  "$(curl -s -m "$patience" -o /dev/null -w '%{http_code}' http://100.100.100.200/latest/meta-data/)"
curl -s -m "$patience" -o /dev/null http://100.100.100.200:81/
is 'another port of the address is refused at once' 7 "$?"
is 'the socket goes on to answer' 200 "$(ask "$token" latest/meta-data/mac)"
holds 'it is confirmed' timeout "$patience" metabind lockdown confirm
holds 'and then has no end' sh -c "metabind lockdown status | grep -qx 'ends *never'"
is 'doctor finds nothing wrong under lockdown' 'nothing is wrong' "$(doctor)"

step 'containers'
pod_network
is 'a container on the socket is known by its user and container' "$pod_is" \
  "$(pod_seen --unix-socket "$metadata" http://metadata)"
pod curl -s -m "$patience" -o /dev/null http://100.100.100.200/
is 'a container is refused at once' 7 "$?"
timeout "$patience" metabind lockdown on --containers redirect >/tmp/redirect 2>&1
is 'it is not redirected to nobody' 1 "$(grep -c 'metabind-containers.socket does not listen' /tmp/redirect)"
timeout "$patience" systemctl enable -q metabind-containers.socket
holds "systemd takes the service's address for containers" \
  timeout "$patience" systemctl restart metabindd.service metabind-containers.socket
ready
holds 'and then it is redirected' timeout "$patience" metabind lockdown on --containers redirect
is 'to the agent in its sandbox, which knows its user and container' "$pod_is" \
  "$(pod_seen http://100.100.100.200)"
is 'doctor finds nothing wrong with it' 'nothing is wrong' "$(doctor)"
holds 'and it ends' timeout "$patience" metabind lockdown on
is 'with nothing left in the routing' 0 "$(ip -4 rule | grep -c 7764)"

step 'the credentials URL'
url=$(as alice metabind credential --uri)
is 'a user gets a credentials URL' http://127.0.0.1:9182/metabind/v1/credentials "${url%/*/*}"
as alice curl -s -m "$patience" "$url" >/tmp/credentials
holds "the URL gives the user credentials" grep -q '"AccessKeySecret"' /tmp/credentials
is 'and nobody else' 404 "$(curl -s -m "$patience" -o /dev/null -w '%{http_code}' "$url")"
timeout "$patience" systemctl stop metabindd.service
is 'while the agent is stopped the port is systemd'"'"'s' 1 \
  "$(ss -tlnp 'sport = 9182' | grep -c '"systemd"')"
is 'and who asks waits for the agent' 404 \
  "$(curl -s -m "$patience" -o /dev/null -w '%{http_code}' "$url")"
