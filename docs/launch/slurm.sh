#!/bin/bash
#SBATCH --job-name=voc
#SBATCH --nodes=2
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

# sbatch docs/launch/slurm.sh, in the repository: one process for each GPU.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?start this with sbatch}"

status=0
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" .venv/bin/python main.py train \
  --config configs/voc.py --workdir runs/voc \
  --config.data.data_dir=data --config.model.pretrained=resnet101.safetensors \
  || status=$?

if [[ $status -eq 143 ]]; then # SIGTERM: all is saved, and the same job goes on
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
