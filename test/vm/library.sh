# Read by the scripts that run in a guest. Every line that begins with @ is for the machine outside.
# No wait is without an end: a command that hangs would hang the guest.

sim=/opt/sim/usr/lib/metabind
metadata=/run/metabind/metadata.sock

ok() { echo "@ok $1"; }
bad() { # NAME [WHY]
  echo "@fail $1: $2"
  timeout 10 systemctl status --no-pager metabindd.service 2>&1 | sed 's/^/  /' | head -20
  timeout 10 journalctl -u metabindd -n 15 --no-pager -o cat 2>&1 | sed 's/^/  /'
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
  until timeout 20 "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.3
  done
}
ready() { until_true 60 metabind status; }

# cloud INSTANCE-ID: an ECS metadata server at its own address, inside the guest
cloud() {
  [ -d /opt/sim ] || { mkdir -p /opt/sim && dpkg-deb -x metabind.deb /opt/sim; }
  ip link set lo up
  ip addr add 100.100.100.200/32 dev lo 2>/dev/null
  [ -z "$cloud_pid" ] || kill "$cloud_pid"
  "$sim/bin/node" "$sim/metabind.cjs" simulate --host 100.100.100.200 --port 80 \
    --instance-id "$1" >/var/log/cloud.log 2>&1 &
  cloud_pid=$!
  until_true 30 sh -c 'curl -s -m 5 -o /dev/null http://100.100.100.200/'
}

# A configuration that was there before the package. The cloud of the guest has a new key at each start,
# so its documents are not asked for.
configure() {
  mkdir -p /etc/metabind
  printf '[source]\nidentity_document = "ignore"\n' >/etc/metabind/metabind.toml
}
install_deb() {
  timeout 180 env DEBIAN_FRONTEND=noninteractive \
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
  curl -s -m 60 -o /tmp/answer -w '%{http_code}' --unix-socket "$metadata" \
    -H "X-aliyun-ecs-metadata-token: $1" "http://metadata/$2"
}
new_token() {
  curl -s -m 60 --unix-socket "$metadata" -X PUT http://metadata/latest/api/token \
    -H 'X-aliyun-ecs-metadata-token-ttl-seconds: 21600'
}
main_pid() { systemctl show -p MainPID --value metabindd.service; }
# inside JAVASCRIPT: in the agent's mount namespace and as its user. Only the runtime can be executed
# there.
inside() {
  timeout 60 nsenter -t "$(main_pid)" -m -- /usr/lib/metabind/bin/node -e "
    process.setgroups([]); process.setgid($(id -g metabind)); process.setuid($(id -u metabind));
    process.stdout.write(String($1))"
}
# as USER COMMAND: without su, which the guest's login set-up would make slow
as() {
  user=$1
  shift
  setpriv --reuid "$(id -u "$user")" --regid "$(id -g "$user")" --clear-groups "$@"
}
# What is on the disk but for logs, caches and the records of dpkg and of users.
files() {
  find / -xdev \( -path /root/guest -o -path /opt/sim -o -path /var/lib/dpkg -o -path /var/log -o \
    -path /var/cache -o -path /tmp -o -path /var/tmp -o -path /var/lib/systemd -o \
    -path /var/lib/apt \) -prune -o -print | grep -vE '^/etc/(passwd|group|shadow|gshadow|sub[ug]id)-?$|^/root|^/etc/\.pwd\.lock$' | LC_ALL=C sort
  find /run -path '*metabind*' ! -path '/run/systemd/*' | LC_ALL=C sort
}
