#!/bin/sh
# Becomes the first process of a throw-away Windows: wine.sh SCRATCH LAYERS CLONE COMMAND...
# It runs in mount, process and network namespaces of its own. LAYERS are folders, the topmost first, of which the last
# holds a Wine prefix; what is written goes to memory. COMMAND runs with the prefix in /mnt/windows and its complaints
# in /mnt/log. When it ends, or this is killed, all processes end, and all that was written is gone.
set -eu
scratch=$1 layers=$2 clone=$3
shift 3
over() { # LOWER NAME PLACE
    mkdir "$scratch/$2" "$scratch/$2-work"
    options=lowerdir=$1,upperdir=$scratch/$2,workdir=$scratch/$2-work
    mount -t overlay none -o "$options" "$3" 2>/dev/null || mount -t overlay none -o "userxattr,$options" "$3"
}
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$scratch"
mkdir "$scratch/windows" "$scratch/home"
over "$layers" files "$scratch/windows"
over "$clone" clone "$scratch/windows/drive_c/clone"
mount --rbind "$scratch" /mnt # the scratch folder may be in /tmp, which is another one from here on: Wine's sockets are in it
mount -t tmpfs -o mode=1777 none /tmp
mount -t proc none /proc
ip link set lo up 2>/dev/null || true
cd /mnt/windows/drive_c
mkfifo /mnt/complaints # Python for Windows takes no file
cat /mnt/complaints >/mnt/log &
"$@" 2>/mnt/complaints || exit
