# What the scripts share: bring a Debian machine to where Newbon runs. Sourced, never run.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
export PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# install_packages PACKAGE…: Debian packages that are not there yet.
install_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" -eq 0 ] || fail "these packages are missing and only root can install them: ${missing[*]}"
  say "installing ${missing[*]}"
  # Without systemd a package's post-install script would try, and fail, to start its service.
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -d /run/systemd/system ] && [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && made=1
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/tmp/newbon-apt.log 2>&1 ||
    { tail -20 /tmp/newbon-apt.log >&2; fail "apt-get could not install ${missing[*]}"; }
  [ -z "$made" ] || rm -f $policy
}

find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

# prepare_python EXTRA…: the virtual environment with the core, all plugins and what EXTRA names.
prepare_python() {
  local python
  python=$(find_python)
  if [ -z "$python" ]; then install_packages python3; python=$(find_python); fi
  [ -n "$python" ] || fail "Newbon needs Python 3.11 or newer"
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then install_packages python3-venv; fi
  local stamp wanted
  stamp=$VENV/.newbon-$(echo "$*" | sha256sum | cut -c1-8)
  wanted=$(cat "$ROOT"/pyproject.toml "$ROOT"/plugins/*/pyproject.toml | sha256sum)
  # Whatever else was asked for, the core and all plugins are in every environment that was prepared.
  [ $# -gt 0 ] || stamp=$(grep -lsF "$wanted" "$VENV"/.newbon-* | head -n 1) || true
  stamp=${stamp:-$VENV/.newbon-core}
  [ -x "$VENV/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  say "installing Python packages into .venv"
  [ -x "$VENV/bin/python" ] || "$python" -m venv "$VENV"
  local targets=(-e "$ROOT[etcd]") plugin
  for plugin in "$ROOT"/plugins/*/; do targets+=(-e "$plugin"); done
  "$VENV/bin/pip" install -q "${targets[@]}" "$@" || fail "pip could not install the Python packages"
  echo "$wanted" >"$stamp"
}

# forget_dead NAME FILE: remove a pid file whose process is gone, a zombie, or another program by now; an engine that was
# killed leaves such files, and would refuse to start over them.
forget_dead() {
  [ -e "$2" ] || return 0
  local status
  status=$(cat "/proc/$(cat "$2")/status" 2>/dev/null) || true
  if ! grep -q "^Name:[[:space:]]*$1$" <<<"$status" || grep -q "^State:[[:space:]]*[ZX]" <<<"$status"; then rm -f "$2"; fi
}

# prepare_engine: a Docker engine that answers, installed and started if need be.
prepare_engine() {
  command -v docker >/dev/null && docker version >/dev/null 2>&1 && return
  command -v dockerd >/dev/null || install_packages docker.io ca-certificates
  docker version >/dev/null 2>&1 && return
  if [ -d /run/systemd/system ]; then
    say "starting the Docker engine (systemctl start docker)"
    systemctl start docker
  else
    say "starting the Docker engine (log: /var/log/newbon-dockerd.log)"
    forget_dead dockerd /var/run/docker.pid
    forget_dead containerd /var/run/docker/containerd/containerd.pid
    setsid dockerd >/var/log/newbon-dockerd.log 2>&1 </dev/null &
  fi
  local i
  for i in $(seq 300); do
    docker version >/dev/null 2>&1 && return
    sleep 0.1
  done
  tail -5 /var/log/newbon-dockerd.log >&2 2>/dev/null || true
  fail "the Docker engine does not answer after 30 s"
}
