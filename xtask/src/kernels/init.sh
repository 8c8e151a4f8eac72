#!/bin/sh
# First process of a guest: mounts, modules, scenarios, power off.
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec > /dev/console 2>&1 < /dev/console
mkdir -p /dev/shm /sys/fs/bpf
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname guest
ip link set lo up
# Before 5.11 maps and programs count as locked memory, for each user as a whole.
ulimit -l unlimited
for word in $(cat /proc/cmdline); do
    case $word in tartan.force=*) export TARTAN_FORCE=${word#tartan.force=} ;; esac
done
read -r up _ < /proc/uptime
echo "GUEST release $(uname -r)"
echo "GUEST boot $up"
cd "/lib/modules/$(uname -r)" && while read -r module; do
    insmod "$module" || echo "GUEST module $module failed"
done < order
cd /
while read -r scenario; do
    # What is promised of a kernel that is too old is that it is refused.
    case ${TARTAN_FORCE:+old}$scenario in
        kernel_reach::an_old_kernel_is_refused | oldleast_privilege) continue ;;
    esac
    /t/tartan-lab test --all --show-log "$scenario"
done < /t/scenarios
echo "GUEST done"
poweroff -f
