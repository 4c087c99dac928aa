#!/usr/bin/env bash
# A Docker engine that answers, on a machine without a service manager.
#   engine.sh [--install]   installs Debian's engine (as root) with --install, and starts it where none answers
#   engine.sh stop          stops the engine that this script started
set -euo pipefail

run_dir=/var/run/provision-tests
pid_file=$run_dir/dockerd.pid
log_file=$run_dir/dockerd.log

answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

mount_cgroups() {
  # Where the machine has no init that does it.
  mountpoint -q /sys/fs/cgroup && return
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  awk '!/^#/ && $4 == 1 { print $1 }' /proc/cgroups | while read -r controller; do
    mkdir -p "/sys/fs/cgroup/$controller"
    mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" || true
  done
}

stop() {
  [ -f "$pid_file" ] || return 0
  pid=$(cat "$pid_file")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 60); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.5
  done
  rm -f "$pid_file"
}

start() {
  answers && return
  mkdir -p "$run_dir"
  mount_cgroups
  rm -f /var/run/docker.pid
  nohup dockerd >"$log_file" 2>&1 </dev/null &
  echo $! >"$pid_file"
  for _ in $(seq 120); do
    answers && return
    kill -0 "$(cat "$pid_file")" 2>/dev/null || break
    sleep 0.5
  done
  echo "the Docker engine did not start; the last lines of $log_file:" >&2
  tail -n 20 "$log_file" >&2
  exit 1
}

case "${1:-}" in
  stop) stop ;;
  --install)
    if ! command -v dockerd >/dev/null; then
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io debootstrap iptables >/dev/null
    fi
    start
    ;;
  "") start ;;
  *)
    echo "engine.sh [--install | stop]" >&2
    exit 2
    ;;
esac
