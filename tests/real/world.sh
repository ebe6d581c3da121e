#!/bin/sh
# Becomes the first process of a throw-away machine: world.sh SCRATCH KIND CACHE [LAYERS UID]
# It runs in mount, process and network namespaces of its own. Its root directory is an overlay over the real one, so
# whatever is written or hidden below stays here; it ends, and all of this with it, when it is killed.
# With LAYERS, folders of which the last holds a Wine prefix (see wine.sh), their drive C: is in /mnt/c, and the user
# with this number may start its programs, as from a WSL. That takes a user namespace: it has a binfmt_misc of its own,
# and without one it would be the real machine's. It comes last: in one the kernel lays nothing over this root directory.
set -eu
scratch=$1 kind=$2 cache=$3 layers=${4-}
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
rm -rf "$root/etc/npmrc" "$root/opt" "$root/.dockerenv" # the real machine may be a container: this one is none
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
if [ -n "$layers" ]; then
    windows=$root/opt/windows
    mkdir "$windows" "$scratch/files" "$scratch/files-work" "$root/mnt/c"
    mount -t overlay none -o "lowerdir=$layers,upperdir=$scratch/files,workdir=$scratch/files-work" "$windows"
    mount --bind "$windows/windows/drive_c" "$root/mnt/c"
    chown "$5" "$windows/home" "$windows/windows" # or Wine does not take the prefix for theirs
    find "$windows/windows" -maxdepth 1 -type f -exec chown "$5" {} +
    find "$root/mnt/c/Program Files/nodejs" -name '*.exe' -exec chmod +x {} + 2>/dev/null || true # as all is on a drive
    find "$windows/windows/drive_c/users" "$windows/windows/drive_c/windows/temp" -type d -exec chown "$5" {} +
    cp "${0%/*}/interop.sh" "$root/opt/interop"
fi
ip link set lo up 2>/dev/null || true
mkdir "$root/old"
cd "$root"
pivot_root . old 2>/dev/null || exit 3
umount -l /old
rmdir /old
if [ -n "$layers" ]; then
    unshare --user sleep 100000 &
    until [ "$(readlink /proc/$!/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
    for kind in uid gid; do echo 0 0 65536 >"/proc/$!/${kind}_map"; done # everybody is who they are
    exec nsenter -t $! -U -S 0 -G 0 unshare --mount sh -c '
        kill "$1"
        mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
        echo ":WSLInterop:M::MZ::/opt/interop:" >/proc/sys/fs/binfmt_misc/register
        echo ready
        exec sleep 100000' sh $!
fi
echo ready
exec sleep 100000
