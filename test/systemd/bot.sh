#!/bin/sh
# A bot that says READY=1 and beats. It notes in `overlaps` when another one of it lives, and makes trouble when a file of that name says so.
exec 9> lock
flock -n 9 || echo "$$ was started while another one lives" >> overlaps
[ ! -e deaf ] || trap '' TERM
[ ! -e crash ] || exit 1
systemd-notify --ready
while :; do
  systemd-notify WATCHDOG=1
  # Grows until the kernel ends it.
  if [ -e hog ]; then rm hog; exec tail /dev/zero; fi
  sleep 0.2
done
