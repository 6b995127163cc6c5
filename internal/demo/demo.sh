#!/bin/bash
# A tour of sluice on real packets. A "host" and a "client" are network
# namespaces that this script makes; the daemon runs in the host. Every step
# shows what is typed and what comes back, and the tour fails with the first
# step that does. Nothing is left behind.
#
#   demo.sh PATH-OF-SLUICE [PATH-OF-SLUICE-BENCH]
set -euo pipefail

[ $# = 1 ] || [ $# = 2 ] || { echo "usage: demo.sh PATH-OF-SLUICE [PATH-OF-SLUICE-BENCH]" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "demo: root is needed" >&2; exit 1; }
sluice=$(realpath "$1")
bench=${2:+$(realpath "$2")}

work=$(mktemp -d /tmp/sluice-demo.XXXXXX)
export SLUICE_ROOT=$work/root
host=demo-host-$$
client=demo-client-$$
daemon=
web=

cleanup() {
	status=$?
	trap - EXIT
	[ -z "$web" ] || kill "$web" 2>/dev/null || true
	if [ -d "$SLUICE_ROOT" ]; then
		in_host "$sluice" system reset --force >/dev/null 2>&1 || { echo "demo: the reset failed" >&2; status=1; }
	fi
	if [ -n "$daemon" ]; then
		kill "$daemon" 2>/dev/null || true
		wait "$daemon" 2>/dev/null || true
	fi
	ip netns del "$host" 2>/dev/null || true
	ip netns del "$client" 2>/dev/null || true
	if [ $status != 0 ]; then
		echo
		echo "demo: FAILED; the daemon's log:" >&2
		tail -n 20 "$work/daemon.log" >&2 || true
	fi
	rm -rf "$work"
	exit $status
}
trap cleanup EXIT

# nsenter, and not `ip netns exec`, which would hide the bpffs.
in_host() { nsenter --net="/run/netns/$host" "$@"; }
in_client() { nsenter --net="/run/netns/$client" "$@"; }

start_daemon() {
	echo "host# sluice daemon &"
	nsenter --net="/run/netns/$host" "$sluice" daemon >>"$work/daemon.log" 2>&1 &
	daemon=$!
	reachable in_host "$sluice" version
}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# step WHERE COMMAND...: shows the command as typed, runs it, keeps its output.
step() {
	local where=$1
	shift
	printf '%s# %s\n' "$where" "$*" | sed "s|$sluice|sluice|g; s|$work|/tmp/demo|g"
	output=$("in_$where" "$@" 2>&1) || { printf '%s\n' "$output"; echo "demo: this step failed" >&2; exit 1; }
	[ -z "$output" ] || printf '%s\n' "$output"
}

# expect TEXT: the last step's output must contain it.
expect() {
	case $output in
	*"$1"*) ;;
	*)
		echo "demo: expected to see: $1" >&2
		exit 1
		;;
	esac
}

reachable() {
	for _ in $(seq 200); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.02
	done
	echo "demo: no answer: $*" >&2
	exit 1
}

say "Setting up: a host and a client, two network namespaces with a wire between them"
ip netns add "$host"
ip netns add "$client"
ip -n "$host" link set lo up
ip -n "$client" link set lo up
ip link add eth0 netns "$host" type veth peer name eth0 netns "$client"
ip -n "$host" addr add 192.0.2.1/24 dev eth0
ip -n "$client" addr add 192.0.2.2/24 dev eth0
ip -n "$client" addr add 198.51.100.7/32 dev lo
ip -n "$host" link set eth0 up
ip -n "$client" link set eth0 up
ip -n "$host" route add default via 192.0.2.2
mkdir -p "$work/www/cgi-bin" "$work/outside/cgi-bin"
cat >"$work/www/cgi-bin/whoami" <<'CGI'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
addr=${REMOTE_ADDR#'[::ffff:'} # httpd listens on IPv6 for both
echo "hello from $(hostname), you are ${addr%]}"
CGI
sed 's/hello from $(hostname)/the outside/' "$work/www/cgi-bin/whoami" >"$work/outside/cgi-bin/whoami"
chmod +x "$work"/*/cgi-bin/whoami
nsenter --net="/run/netns/$client" busybox httpd -f -p 198.51.100.7:80 -h "$work/outside" &
web=$!
echo "host   192.0.2.1, the daemon runs here"
echo "client 192.0.2.2, and 198.51.100.7 far behind it"

say "The daemon"
start_daemon

say "1. The default bridge is there from the start"
step host "$sluice" network inspect --format '{{.Name}}: {{range .IPAM.Config}}{{.Subnet}}, gateway {{.Gateway}}{{end}}' bridge
expect 172.17.0.0/16
step host ip -br addr show dev sluice0
expect 172.17.0.1/16

say "2. A published port"
step host "$sluice" run -d --name=net00 -p 8080:80 -- busybox httpd -f -p 80 -h "$work/www"
reachable in_client curl -sf -m 1 http://192.0.2.1:8080/cgi-bin/whoami
echo "The client reaches the container through the host, and keeps its address:"
step client curl -sf -m 5 http://192.0.2.1:8080/cgi-bin/whoami
expect "you are 192.0.2.2"
echo "So does the host itself, without a proxy process:"
step host curl -sf -m 5 http://127.0.0.1:8080/cgi-bin/whoami
expect "hello from"
step host "$sluice" port net00

say "4. Masquerade: from the container to the outside, which sees the host"
step host "$sluice" exec net00 curl -sf -m 5 http://198.51.100.7/cgi-bin/whoami
expect "you are 192.0.2.1"
step host "$sluice" exec net00 busybox ping -c 1 -W 5 198.51.100.7
expect "1 packets received"

say "3. The NAT table, visible"
step host "$sluice" nat
expect masquerade
expect 172.17.0.2

echo "and what Prometheus gets:"
step host sh -c "curl -sf -m 5 http://127.0.0.1:9477/metrics | grep ^sluice_published_port"
expect 'container="net00"'

say "5. Inspect, in Docker's shape"
step host "$sluice" inspect --format '{{json .NetworkSettings.Ports}}' net00
expect '"HostPort":"8080"'
step host "$sluice" inspect --format '{{with index .NetworkSettings.Networks "bridge"}}{{.IPAddress}}/{{.IPPrefixLen}} via {{.Gateway}}, {{.MacAddress}}{{end}}' net00
expect "172.17.0.2/16 via 172.17.0.1, 02:42:ac:11:00:02"

say "6. A network of your own"
step host "$sluice" network create --driver=bridge --subnet=172.20.0.0/16 custombridge
say "7. ... in the list"
step host "$sluice" network ls
expect custombridge
say "8. ... and a container in it"
step host "$sluice" run -d --name=net01 --network=custombridge
step host "$sluice" inspect --format '{{with index .NetworkSettings.Networks "custombridge"}}{{.IPAddress}}/{{.IPPrefixLen}} via {{.Gateway}}, {{.MacAddress}}, aliases {{.Aliases}}{{end}}' net01
expect "172.20.0.2/16 via 172.20.0.1, 02:42:ac:14:00:02"
echo "Networks are isolated from each other:"
echo "host# sluice exec net01 curl -m 1 http://172.17.0.2/"
if in_host "$sluice" exec net01 curl -sf -m 1 http://172.17.0.2/ 2>/dev/null; then
	echo "demo: another network's container was reached" >&2
	exit 1
fi
echo "(no answer)"
echo "but a published port is reached through the host:"
step host "$sluice" exec net01 curl -sf -m 5 http://192.0.2.1:8080/cgi-bin/whoami
expect "you are 172.20.0.2"

say "9. The host's own network, and 10. none"
step host "$sluice" run -itd --name=test00 --net=host
step host "$sluice" exec test00 ip -br addr show dev eth0
expect 192.0.2.1
step host "$sluice" run -itd --name=non00 --net=none
step host "$sluice" exec non00 ip -br link
expect LOOPBACK

say "11. Containers that share a network: the address stays while one of them runs"
address='{{with index .NetworkSettings.Networks "bridge"}}{{.IPAddress}} {{.MacAddress}}{{end}}'
step host "$sluice" run -itd --name=origin
step host "$sluice" run -itd --name=other --net=container:origin
step host "$sluice" inspect --format "$address" origin
shared=$output
step host "$sluice" inspect --format "$address" other
expect "$shared"
step host "$sluice" kill origin
step host "$sluice" start origin
step host "$sluice" inspect --format "$address" origin
expect "$shared"

say "12. A link, which /etc/hosts follows"
step host "$sluice" run -itd --name=db00
step host "$sluice" run -i --rm --link=db00 -- cat /etc/hosts
expect "db00"

say "13. An alias: its members take connections in turn"
for name in rr00 rr01; do
	step host "$sluice" run -d --name=$name --net=custombridge --net-alias=rr -- busybox httpd -f -p 80 -h "$work/www"
	reachable in_host "$sluice" exec net01 curl -sf -m 1 "http://$name/cgi-bin/whoami"
done
turns=
for _ in 1 2 3 4; do
	step host "$sluice" exec net01 curl -sf -m 5 http://rr/cgi-bin/whoami
	turns="$turns ${output:11:12}"
done
# Two members: the first and third answer come from one, the others from the other.
set -- $turns
[ "$1" = "$3" ] && [ "$2" = "$4" ] && [ "$1" != "$2" ] || { echo "demo: not in turn:$turns" >&2; exit 1; }
step host "$sluice" exec net01 busybox ping -c 1 -W 5 rr
expect "1 packets received"

say "Ports of a running container, changed"
step host "$sluice" publish net00 9090:80
step client curl -sf -m 5 http://192.0.2.1:9090/cgi-bin/whoami
expect "you are 192.0.2.2"
step host "$sluice" unpublish net00 9090:80

say "The daemon may die: connections, new ones included, go on"
echo "host# kill -9 $daemon"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
daemon=
step client curl -sf -m 5 http://192.0.2.1:8080/cgi-bin/whoami
expect "you are 192.0.2.2"
start_daemon
step host "$sluice" ps --format 'table {{.Names}}\t{{.Status}}\t{{.Ports}}'
expect net00

say "No rule of iptables or nftables was made, and the host is no router"
step host cat /proc/sys/net/ipv4/ip_forward
[ "$output" = 0 ] || { echo "demo: ip_forward is $output" >&2; exit 1; }

say "Everything away again"
step host "$sluice" system reset --force
wait "$daemon" 2>/dev/null || true
daemon=
step host ip -br link
case $output in *sluice* | *veth*) echo "demo: devices are left" >&2; exit 1 ;; esac

if [ -n "$bench" ]; then
	say "What a packet costs, beside iptables and nftables (make bench measures more, and longer)"
	"$bench" -scenarios forwarding -only path=published -only flows=1 -rounds 7 2>"$work/bench.log" || { cat "$work/bench.log" >&2; exit 1; }
fi
say "Done: every step gave what it should."
