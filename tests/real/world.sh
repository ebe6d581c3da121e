#!/bin/sh
# Becomes the first process of a throw-away machine: world.sh SCRATCH KIND CACHE
# It runs in mount, process and network namespaces of its own. Its root directory is an overlay over the real one, so
# whatever is written or hidden below stays here; it ends, and all of this with it, when it is killed.
set -eu
scratch=$1 kind=$2 cache=$3
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
root=$scratch/root
options=lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work
mount -t overlay none -o "$options" "$root" 2>/dev/null || mount -t overlay none -o "userxattr,$options" "$root"

mount -t proc none "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 none "$root/tmp"
mount -t tmpfs -o mode=755 none "$root/run"
mount -t tmpfs -o mode=755 none "$root/home" # a file system of one piece, as a disk is
mkdir -p "$root/mnt" "$root/srv/cache"
mount --bind "$cache" "$root/srv/cache"
mount -t tmpfs -o mode=755 none "$root/mnt"

# No node, npm or claude but those that a test puts there; whatever else the machine has in these folders stays.
for folder in usr/bin usr/local/bin; do
    for name in node nodejs npm npx claude nvm fnm volta asdf mise; do rm -f "$root/$folder/$name"; done
done
rm -rf "$root/usr/local/lib/node_modules" "$root/usr/lib/node_modules" "$root/usr/local/etc/npmrc" "$root/usr/etc/npmrc"
rm -rf "$root/etc/npmrc" "$root/opt"
mkdir "$root/opt"
rm -f "$root"/etc/profile.d/*.sh # what this machine's owner has added there is not part of any case

if [ "$kind" != linux ]; then
    case $kind in
        wsl1) release=4.4.0-19041-Microsoft ;;
        *) release=5.15.167.4-microsoft-standard-WSL2 ;;
    esac
    echo "$release" >"$scratch/osrelease"
    echo "Linux version $release (root@1234) (gcc) #1 SMP" >"$scratch/version"
    mount --bind "$scratch/osrelease" "$root/proc/sys/kernel/osrelease"
    mount --bind "$scratch/version" "$root/proc/version"
    [ "$kind" = container ] || { mkdir "$root/run/WSL" && : >"$root/run/WSL/8_interop"; }
fi
ip link set lo up 2>/dev/null || true
mkdir "$root/old"
cd "$root"
pivot_root . old 2>/dev/null || exit 3
umount -l /old
rmdir /old
echo ready
exec sleep 100000
