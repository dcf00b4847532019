#!/usr/bin/env bash
# Installs Debian's SLURM with its accounting; starts nothing.
set -euo pipefail

missing() { echo "make test-slurm: $*" >&2; exit 1; }

[[ $(id -u) == 0 ]] || missing "must be run as root, for it installs packages and starts a SLURM"
command -v apt-get >/dev/null || missing "needs apt-get, that is Debian or Ubuntu"
unshare --net --pid --fork true 2>/dev/null ||
    missing "may not make a network of its own: in a container, allow CAP_SYS_ADMIN (--privileged)"

for program in sbatch slurmctld slurmd slurmdbd munged mariadbd mariadb-install-db mariadb; do
    command -v "$program" >/dev/null || absent=1
done
[[ -v absent ]] || exit 0
# Of the database only the programs, which make no data and start nothing.
packages=(slurm-wlm munge slurmdbd mariadb-server-core mariadb-client-core)

# Debian starts what it installs unless this file says no.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || missing "apt-get update fails; are Debian's packages reachable?"
apt-get install -qq --no-install-recommends "${packages[@]}" >/dev/null ||
    missing "apt-get cannot install ${packages[*]}"
