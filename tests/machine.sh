#!/bin/bash
# machine.sh DIR: a whole machine with a real systemd, for tests. Needs root; SIGTERM ends it, with all in it.
#
# Namespaces of its own, on an overlay of this machine's / (what is written is kept until the end, beside nothing
# of the real one). DIR/init.pid is its init here; enter it by `nsenter -t PID -a`. When init dies, as in a power
# cut or a `systemctl reboot`, it boots again with the same files; while there is a file DIR/off it waits with that.
# /tmp and /run are new at each boot.
set -euo pipefail
D=$1 G=/sys/fs/cgroup NAME=substitute-$$
if [ -z "${2:-}" ]; then  # a mount namespace first, so that nothing that is mounted here is left over
  exec setpriv --pdeathsig TERM unshare --mount --propagation private "$0" "$D" ready
fi

# Where this machine has cgroup v1 beside v2, the controllers are there: limits must bite inside. With UNIFIED=1
# it is v2 alone, without them. What systemd manages must be listed, or it would do so in the groups of outside.
if [ -d $G/unified ] && [ "${UNIFIED:-}" ]; then
  GROUPS_OF="$G/unified/$NAME" V1=
elif [ -d $G/unified ]; then
  GROUPS_OF="$G/unified/$NAME" V1="memory cpu cpuacct pids devices blkio systemd ${ENGINE:+cpuset freezer}"
  for c in $V1; do GROUPS_OF="$GROUPS_OF $G/$c/$NAME"; done
else
  GROUPS_OF="$G/$NAME" V1=
  for c in memory cpu pids ${ENGINE:+cpuset io}; do echo "+$c" >$G/cgroup.subtree_control 2>/dev/null || true; done
fi
sweep() { # empty groups that a machine left
  for group in $GROUPS_OF; do
    for _ in $(seq 200); do
      [ -d "$group" ] || break
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.02
    done
  done
}
power_off() {
  trap - EXIT TERM
  [ -z "${unshared:-}" ] || kill -KILL "$unshared" 2>/dev/null || true
  wait
  sweep
  exit 0
}
exec 2>>"$D/console.log"
trap power_off EXIT TERM
mkdir -p "$D/disk"
mount -t tmpfs -o mode=755 tmpfs "$D/disk"
mkdir "$D/disk/upper" "$D/disk/work" "$D/disk/root"

boot() {
  for group in $GROUPS_OF; do
    mkdir -p "$group"
    case $group in $G/cpuset/*) for of in cpus mems; do cat $G/cpuset/cpuset.$of >"$group/cpuset.$of"; done ;; esac
    echo "$BASHPID" >"$group/cgroup.procs"
  done
  exec setpriv --pdeathsig KILL setsid unshare --mount --uts --ipc --pid --cgroup --net --fork --kill-child \
    --propagation private /bin/bash -euc '
  D=$1 V1=$2 R=$1/disk/root
  ip link set lo up
  mount -t overlay overlay -o lowerdir=/,upperdir=$D/disk/upper,workdir=$D/disk/work $R
  read -r pid _ </proc/self/stat  # the /proc of outside still shows the pid of outside
  mount -t proc proc $R/proc
  mount --bind $R/proc/sys $R/proc/sys; mount --bind $R/proc/sys/net $R/proc/sys/net
  mount -o remount,bind,ro $R/proc/sys
  mount -t sysfs -o ro sysfs $R/sys
  C=$R/sys/fs/cgroup
  if [ -z "$V1" ]; then
    mount -t cgroup2 cgroup2 $C
  else
    mount -t tmpfs tmpfs $C; mkdir $C/unified; mount -t cgroup2 cgroup2 $C/unified
    for c in $V1; do
      mkdir $C/$c; [ $c = systemd ] && o=none,name=systemd || o=$c; mount -t cgroup -o $o cgroup $C/$c
    done
  fi
  for d in dev:755 dev/shm:1777 run:755 tmp:1777; do
    mkdir -p $R/${d%:*}; mount -t tmpfs -o mode=${d#*:} tmpfs $R/${d%:*}
  done
  while read -r shown; do  # what of outside lies in one of those, and is needed: the checkout, its Python
    [ -n "$shown" ] || continue
    own=$D/disk/shown$shown
    mkdir -p "$own/upper" "$own/work" "$R$shown"
    mount -t overlay overlay -o "lowerdir=$shown,upperdir=$own/upper,workdir=$own/work" "$R$shown"
  done <<<"$SHOWN"
  for plain in ${ENGINE:+/var/lib/containerd /var/lib/kubelet}; do  # an overlay can lie on these, not on an overlay
    mkdir -p $D/disk/plain$plain $R$plain; mount --bind $D/disk/plain$plain $R$plain
  done
  for n in null zero full random urandom tty; do touch $R/dev/$n; mount --bind /dev/$n $R/dev/$n; done
  mkdir $R/dev/pts
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts $R/dev/pts
  ln -s pts/ptmx $R/dev/ptmx; ln -s /proc/self/fd $R/dev/fd
  ln -s fd/0 $R/dev/stdin; ln -s fd/1 $R/dev/stdout; ln -s fd/2 $R/dev/stderr
  if [ ! -e $D/disk/installed ]; then  # the first boot: none of the services of this machine
    E=$R/etc/systemd/system
    rm -rf $E $R/etc/rc?.d/S* $R/var/log/journal
    mkdir -p $E $R/var/log/journal
    for u in systemd-modules-load.service systemd-journald-audit.socket systemd-update-utmp.service \
      sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount \
      dev-mqueue.mount getty.target systemd-logind-varlink.socket apt-daily.timer apt-daily-upgrade.timer \
      e2scrub_all.timer fstrim.timer dpkg-db-backup.timer man-db.timer logrotate.timer; do ln -s /dev/null $E/$u; done
    echo testmachine >$R/etc/hostname
    tr -d - </proc/sys/kernel/random/uuid >$R/etc/machine-id
    grep -q ^deployer: $R/etc/passwd || chroot $R useradd --create-home --uid 4242 --shell /bin/bash deployer
    mkdir -p $R/var/lib/systemd/linger; : >$R/var/lib/systemd/linger/deployer
    : >$D/disk/installed
  fi
  cd $R; mkdir -p .old; pivot_root . .old
  echo $pid >/.old$D/init.pid.new; mv /.old$D/init.pid.new /.old$D/init.pid
  umount -l /.old; rmdir /.old 2>/dev/null || true
  exec env -i container=substitute PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8 \
    /lib/systemd/systemd --system --unit=multi-user.target --show-status=no
  ' machine "$D" "$V1" </dev/null >>"$D/console.log" 2>&1
}
while true; do
  boot & unshared=$!
  wait "$unshared" || true
  [ -e "$D/disk/installed" ] || exit 1  # it did not get as far as an init
  sweep
  while [ -e "$D/off" ]; do sleep 0.05; done
done
