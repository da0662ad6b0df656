#!/bin/sh
# Runs a command in the system for arm64. tools/arm64.py starts it in namespaces of its own, so what
# it mounts and registers disappears with it.
#
#   arm64_inside.sh SYSTEM TREE EMULATOR COMMAND...
set -eu

system=$1 tree=$2 emulator=$3
shift 3

# The first 20 bytes of a program for arm64, and which of their bits count.
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'

mount -t binfmt_misc binfmt_misc "$system/mnt"
# F opens the emulator now, so it need not be visible in the system.
printf ':arm64:M::%s:%s:%s:F' "$magic" "$mask" "$emulator" >"$system/mnt/register"
mount -t proc proc "$system/proc"
mount --rbind /dev "$system/dev"
mount -t tmpfs tmpfs "$system/tmp"
mount --rbind "$tree" "$system/work"

# Not exec: as the first process of its namespace, the command would not die of some signals.
chroot "$system" /usr/bin/env --ignore-environment --chdir=/work \
    HOME=/tmp LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin PYTHONPYCACHEPREFIX=/var/cache/python \
    HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis "$@"
