# Read by the scripts that run in a guest. Every line that begins with @ is for the machine outside.
# No wait is without an end: a command that hangs would hang the guest.

sim=/opt/sim/usr/lib/metabind
# The unit that is tried: whose status and log say why something does not hold.
tried=metabindd.service
metadata=/run/metabind/metadata.sock
# Seconds until something hangs. Generous: on a busy machine an emulated one is very slow.
patience=900

# step NAME: what comes next
step() { echo "@step $1"; }
note() { echo "@note $1"; }
systemd=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
# since VERSION NAME: whether this systemd has what a check is about. If not, the check is named, not left
# out in silence.
since() {
  [ "$systemd" -ge "$1" ] || { note "not checked with systemd $systemd: $2"; return 1; }
}
ok() { echo "@ok $1"; }
bad() { # NAME [WHY]
  echo "@fail $1: $2"
  timeout 60 systemctl status --no-pager "$tried" 2>&1 | sed 's/^/  /' | head -20
  timeout 60 journalctl -u "$tried" -n 15 --no-pager -o cat 2>&1 | sed 's/^/  /'
  timeout 60 journalctl -u metabind-lockdown -n 5 --no-pager -o short-monotonic 2>&1 | sed 's/^/  /'
}
# is NAME WANTED FOUND
is() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1" "wanted '$2', found '$3'"; fi; }
# holds NAME COMMAND...
holds() {
  name=$1
  shift
  if output=$("$@" 2>&1); then ok "$name"; else bad "$name" "$output"; fi
}
# until SECONDS COMMAND...: tries again until it works
until_true() {
  end=$(($(date +%s) + $1))
  shift
  until timeout "$patience" "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.3
  done
}
ready() { until_true "$patience" metabind status; }

step "booted: Linux $(uname -r), systemd $systemd"

# network: the metadata service has its own address at the other end of a cable, so that what is sent to
# it leaves the guest and what it sends comes in. On lo its answers would be sent by the guest as well.
network() {
  ip link set lo up
  # A soft reboot leaves a file where it was, and takes a moment to take the cable away.
  ip netns del cloud 2>/dev/null
  until_true 30 sh -c '! ip link show eth0'
  ip netns add cloud
  ip link add eth0 type veth peer name cloud netns cloud
  ip addr add 192.168.7.2/24 dev eth0
  ip link set eth0 up
  ip -n cloud addr add 192.168.7.1/24 dev cloud
  ip -n cloud addr add 100.100.100.200/32 dev cloud
  ip -n cloud link set lo up
  ip -n cloud link set cloud up
  ip route add 100.100.100.200/32 via 192.168.7.1
}
cloud_pid=
# cloud INSTANCE-ID: an ECS metadata server at its own address
cloud() {
  [ -d /opt/sim ] || { mkdir -p /opt/sim && dpkg-deb -x metabind.deb /opt/sim; }
  ip netns exec cloud true 2>/dev/null || network
  [ -z "$cloud_pid" ] || kill "$cloud_pid"
  ip netns exec cloud "$sim/bin/node" "$sim/metabind.cjs" simulate --host 100.100.100.200 --port 80 \
    --instance-id "$1" --certificate-out /run/cloud.pem >/run/cloud.log 2>&1 &
  cloud_pid=$!
  until_true "$patience" ip netns exec cloud curl -s -m 5 -o /dev/null http://100.100.100.200/
}

# A configuration that was there before the package. The cloud of the guest has a new key at each start,
# so its documents are not asked for.
configure() {
  mkdir -p /etc/metabind
  printf '[source]\nidentity_document = "ignore"\n' >/etc/metabind/metabind.toml
}
# patient: systemd gives the unit more time than 90 s to become ready. A busy machine gives an emulated one a tenth of a
# processor, and the agent would be ended and begin anew for ever.
patient() {
  slow=/usr/local/lib/systemd/system/$tried.d
  mkdir -p "$slow"
  printf '[Service]\nTimeoutStartSec=%s\n' "$patience" >"$slow/slow.conf"
}
# impatient: as it is installed, for what comes with the next start
impatient() {
  rm -rf "/usr/local/lib/systemd/system/$tried.d"
  timeout "$patience" systemctl daemon-reload
}
install_deb() {
  timeout "$patience" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q -o Dpkg::Options::=--force-confold "$1"
}

# ask TOKEN PATH: the status of a read, and its body in /tmp/answer. An emulated cloud may be slower than
# the agent's patience, which is a 503 that says to try again.
ask() {
  status=$(ask_once "$@")
  for _ in 1 2 3 4 5 6 7 8; do
    [ "$status" = 503 ] || break
    sleep 1
    status=$(ask_once "$@")
  done
  echo "$status"
}
ask_once() {
  curl -s -m "$patience" -o /tmp/answer -w '%{http_code}' --unix-socket "$metadata" \
    -H "X-aliyun-ecs-metadata-token: $1" "http://metadata/$2"
}
# new_token [SECONDS]
new_token() {
  curl -s -m "$patience" --unix-socket "$metadata" -X PUT http://metadata/latest/api/token \
    -H "X-aliyun-ecs-metadata-token-ttl-seconds: ${1:-21600}"
}
# plain TOKEN PATH [CURL-OPTION...]: what an ordinary user's unmodified client gets at the address of the
# metadata service: the status, and the answer with its headers in /tmp/alice/answer. Retries as ask does.
plain() {
  for _ in 1 2 3 4 5 6 7 8; do
    status=$(plain_once "$@")
    [ "$status" = 503 ] || break
    sleep 1
  done
  echo "$status"
}
plain_once() {
  header=${1:+X-aliyun-ecs-metadata-token: $1} path=$2
  shift 2
  as alice curl -s -i -m "$patience" -o /tmp/alice/answer -w '%{http_code}' ${header:+-H "$header"} "$@" \
    "http://100.100.100.200/$path"
}
# unit_of CURL-OPTION... URL: which unit the agent sees when a service asks, with a token of its own
unit_of() {
  cat >/run/unit-of <<'SCRIPT'
token=$(curl -s -m 900 -X PUT -H 'X-aliyun-ecs-metadata-token-ttl-seconds: 600' "$@/latest/api/token")
exec curl -s -m 900 -H "X-aliyun-ecs-metadata-token: $token" "$@/metabind/v1/whoami"
SCRIPT
  timeout "$patience" systemd-run -q --pipe --wait --unit=caller.service -p User=alice \
    sh /run/unit-of "$@" | sed -n 's/.*"unit":"\([^"]*\)".*/\1/p'
}
plain_token() {
  [ -d /tmp/alice ] || install -d -o alice /tmp/alice
  as alice curl -s -m "$patience" -X PUT http://100.100.100.200/latest/api/token \
    -H 'X-aliyun-ecs-metadata-token-ttl-seconds: 600'
}
# The answer is the agent's own, not the cloud's.
from_agent() { grep -qi '^x-metabind-cache:' /tmp/alice/answer; }
# guarded: how lockdown is, in a word
guarded() { timeout "$patience" metabind lockdown status | sed -n '1s/^mode *//;1p'; }
# doctor: without its hints at what an older release cannot enforce, which are said in older_hints
doctor() {
  timeout "$patience" metabind doctor >/tmp/doctor.all
  found=$?
  awk '/^hint +(kernel|systemd|cgroups)-older:/ { getline; next } { print; n++ }
    END { if (!n) print "nothing is wrong" }' /tmp/doctor.all
  return $found
}
older_hints() { sed -n 's/^hint *\([a-z]*-older: .*\)/\1/p' /tmp/doctor.all; }
main_pid() { systemctl show -p MainPID --value "$tried"; }
# exposure: what systemd-analyze makes of the unit's sandbox
exposure() {
  timeout "$patience" systemd-analyze security --no-pager "$tried" 2>/dev/null |
    sed -n 's/.*Overall exposure level for .*: \([0-9.]*\).*/\1/p'
}
# exposed_at_most NAME: systemd before 248 has not all that the unit asks for.
exposed_at_most() {
  found=$(exposure) most=1.5
  [ "$systemd" -ge 248 ] || most=1.8
  if awk "BEGIN { exit !($found + 0 > 0 && $found <= $most) }"; then ok "$1 is $most at most ($found)"; else
    bad "$1 is $most at most" "found '$found'"
  fi
}
# inside JAVASCRIPT: in the unit's mount namespace and as its user, by its own runtime: nothing else can be executed
# there.
inside() {
  user=$(systemctl show -p User --value "$tried")
  timeout "$patience" nsenter -t "$(main_pid)" -m -- "/usr/lib/$user/bin/node" -e "
    process.setgroups([]); process.setgid($(id -g "$user")); process.setuid($(id -u "$user"));
    process.stdout.write(String($1))"
}
# as USER COMMAND: without su, which the guest's login set-up would make slow
as() {
  user=$1
  shift
  setpriv --reuid "$(id -u "$user")" --regid "$(id -g "$user")" --clear-groups "$@"
}
# pod_network: a container with a network of its own, as Docker has it by its cgroup
pod_network() {
  pod_id=$(printf '%064d' 7)
  pod_scope=docker-$pod_id.scope
  pod_is="10001 $pod_id"
  if [ "$cgroup" = v1 ]; then hierarchies='/systemd /memory /pids'; else hierarchies=/; fi
  for hierarchy in $hierarchies; do mkdir "/sys/fs/cgroup$hierarchy/$pod_scope"; done
  ip netns add pod
  ip link add pod0 type veth peer name eth0 netns pod
  ip link add podbr type bridge
  ip link set pod0 master podbr up
  ip addr add 10.78.0.1/24 dev podbr
  ip link set podbr up
  ip -n pod addr add 10.78.0.2/24 dev eth0
  ip -n pod link set eth0 up
  ip -n pod route add default via 10.78.0.1
  sysctl -qw net.ipv4.ip_forward=1
}
# pod COMMAND...: in that container, as the user 10001
pod() {
  sh -c 'for hierarchy in $0; do echo $$ >"/sys/fs/cgroup$hierarchy/'"$pod_scope"'/cgroup.procs"; done
    exec "$@"' "$hierarchies" \
    ip netns exec pod setpriv --reuid 10001 --regid 10001 --clear-groups "$@"
}
# pod_seen CURL-OPTION... URL: which user and container the agent sees when that container asks there
pod_seen() {
  pod_token=$(pod curl -s -m "$patience" -X PUT -H 'X-aliyun-ecs-metadata-token-ttl-seconds: 600' \
    "$@/latest/api/token")
  pod curl -s -m "$patience" -H "X-aliyun-ecs-metadata-token: $pod_token" "$@/metabind/v1/whoami" |
    sed 's/.*"uid":\([0-9]*\).*"container":"\([0-9a-f]*\)".*/\1 \2/'
}
# What is on the disk but for logs, caches and the records of dpkg and of users.
files() {
  find / -xdev \( -path /root/guest -o -path /opt/sim -o -path /var/lib/dpkg -o -path /var/log -o \
    -path /var/cache -o -path /tmp -o -path /var/tmp -o -path /var/lib/systemd -o \
    -path /var/lib/apt \) -prune -o -print | grep -vE '^/etc/(passwd|group|shadow|gshadow|sub[ug]id)-?$|^/root|^/etc/\.pwd\.lock$' | LC_ALL=C sort
  find /run -path '*metabind*' ! -path '/run/systemd/*' | LC_ALL=C sort
}
