#!/usr/bin/env bash
# One sweep, about a quarter of an hour on two cores, most of it the SVC. Fashion-MNIST is looked for
# in NNEXP_DATA, else in ../shared/data. Arguments are added to the sweep. The epoch is chosen as it
# was for the results that are kept here.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${OUT:-multirun/fashion_mnist_table3}
mkdir -p "$out"
python -m nnexp --config-dir experiments/fashion_mnist_table3/conf -m +experiment=table3 \
    dataset.root="${NNEXP_DATA:-../shared/data}" trainer.select=loss hydra.sweep.dir="$out" "$@" | tee "$out.log"
