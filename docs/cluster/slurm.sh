#!/bin/bash
# All tables at the paper's scale on Slurm nodes of 8 GPUs each; see docs/cluster.md.
#
#   sbatch docs/cluster/slurm.sh                          one allocation
#   sbatch --dependency=singleton docs/cluster/slurm.sh   again: waits for the one before, goes on
#
#SBATCH --job-name=atss
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --no-kill
set -euo pipefail

# The same absolute paths on every node: the checkout with its .venv, the images, the results.
: "${ATSS_ROOT:=$SLURM_SUBMIT_DIR}" "${COCO_ROOT:=/shared/coco}" "${ATSS_OUT:=$ATSS_ROOT/results}"
export COCO_ROOT PATH="$ATSS_ROOT/.venv/bin:$PATH"

# Every process of the cluster shows the same token; without it Ray lets anyone on the network in.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$ATSS_OUT/.ray-token"
mkdir -p "$ATSS_OUT"
[[ -s $RAY_AUTH_TOKEN_PATH ]] ||
    (umask 077 && python -c 'import secrets; print(secrets.token_hex(32))' >"$RAY_AUTH_TOKEN_PATH")

export MLFLOW_TRACKING_URI=${MLFLOW_TRACKING_URI:-} # a server's http://HOST:PORT, if there is one
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300   # for all nodes to have loaded Ray

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# srun no longer takes the number of cores from sbatch (since Slurm 22.05).
srun --kill-on-bad-exit=0 --cpus-per-task="$SLURM_CPUS_PER_TASK" ray symmetric-run \
    --address "$head:${ATSS_PORT:-6379}" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" -- \
    atss reproduce "${@:-all}" --scale "${ATSS_SCALE:-paper}" --data "${ATSS_DATA:-coco2017}" \
    --out "$ATSS_OUT" --address auto --gpus-per-run "${ATSS_GPUS_PER_RUN:-8}"
