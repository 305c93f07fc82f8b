#!/usr/bin/env bash
# A real SLURM of one node on this machine, as the user who calls it, without systemd, cgroups or accounting:
# `start.sh FOLDER` keeps all that is its own in FOLDER, where its commands find it by SLURM_CONF=FOLDER/slurm.conf;
# `start.sh FOLDER stop` ends it. Debian or Ubuntu: apt-get install slurm-wlm munge.
set -euo pipefail
mkdir -p "$1"
folder=$(realpath "$1") host=$(hostname -s) port=$((20000 + RANDOM % 20000))
export SLURM_CONF=$folder/slurm.conf PATH=$PATH:/usr/sbin

if [ "${2:-}" = stop ]; then
    for daemon in slurmd slurmctld munged; do
        [ ! -e "$folder/$daemon.pid" ] || kill "$(cat "$folder/$daemon.pid")" || true
    done
    exit
fi

mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
chmod 700 "$folder/munge"
head -c 128 /dev/urandom > "$folder/munge/key"
chmod 600 "$folder/munge/key"
munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --log-file="$folder/munge/log" \
    --seed-file="$folder/munge/seed" --pid-file="$folder/munged.pid" 2> "$folder/munge/warnings"
cat > "$SLURM_CONF" <<C
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0,defer=0
KillWait=10
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(awk '/MemTotal/{print int($2 / 1024 * 0.9)}' /proc/meminfo) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
C
slurmctld -i
slurmd
for _ in $(seq 100); do
    [ "$(sinfo --noheader --format %T 2>/dev/null)" != idle ] || exit 0
    sleep 0.1
done
tail -n 5 "$folder"/slurm*.log >&2
exit 1
