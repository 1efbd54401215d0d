#!/usr/bin/env bash
# Five sweeps of one experiment, then one report over them all: about an hour on two cores. Data are
# looked for in NNEXP_DATA, else in ../shared/data. Arguments are added to every sweep, such as
# seed=0 trainer.epochs=1 for a trial. Epochs are chosen as they were for the results that are kept here.
set -euo pipefail
cd "$(dirname "$0")/../.."
study=experiments/simple_tasks
out=${OUT:-multirun/simple_tasks}
mkdir -p "$out"

sweep() {
    local name=$1
    shift
    python -m nnexp --config-dir $study/conf -m +experiment=compare_all dataset="$name" \
        trainer.select=loss hydra.sweep.dir="$out/$name" "$@" | tee "$out/$name.log" || true # rates that diverge are told
}

sweep digits "$@"
sweep satimage "$@"
sweep letter 'seed=range(5)' "$@"
sweep magic 'seed=range(5)' "$@"
sweep adult 'seed=range(5)' dataset.num_train=10000 "$@" # of 27677: all would take an hour alone
python -m nnexp.report "$out"/{digits,satimage,letter,magic,adult} --out "$out/report" | tee "$out/report.log"
