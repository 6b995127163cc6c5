#!/bin/sh
# PID 1 of the test machine: mounts, modules, then the suites, whose outcome
# goes to the second serial port line by line (output.go reads it).
export PATH=/bin:/built HOME=/root TMPDIR=/tmp SLUICE_BINARY=/built/sluice

mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount --make-rshared /
# What containers on the host's files have mounted over must be there.
touch /etc/hosts /etc/hostname /etc/resolv.conf
ip link set lo up
for module in /modules/*; do
	insmod "$module" || echo "insmod $module failed"
done

if grep -q kerneltest.shell /proc/cmdline; then
	echo "The suites are in /suites, the binaries in /built; poweroff -f ends the machine."
	cd /root
	setsid cttyhack sh
	poweroff -f
fi

# The verifier takes its time here.
export SLUICE_LAB_PATIENCE=180s
exec >/dev/ttyS1 2>&1 </dev/null
echo "kerneltest: release $(uname -r)"
while read -r name folder tests; do
	cd "$folder"
	/built/$name.test -test.short -test.parallel=1 -test.v -test.timeout=40m -test.run="$tests"
	echo "kerneltest: exit $? $name"
done </suites
echo "kerneltest: end"
sync
poweroff -f
