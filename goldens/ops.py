"""PyTorch's answers for single ops: forward, gradients, gradients of gradients. Writes one file an op into ops/."""

import shutil
import warnings

from cases import composites, elementwise, indexing, layers, losses, pooling, products, reductions
from golden import HERE

OUT = HERE / "ops"
FILE_LIMIT = 60_000
TOTAL_LIMIT = 1_500_000


def main():
    # Meant: var of one entry with ddof 1 is NaN; klDiv's mean divides by every entry.
    warnings.filterwarnings("ignore", message=r".*(degrees of freedom|reduction: 'mean')")
    shutil.rmtree(OUT, ignore_errors=True)
    families = (elementwise, reductions, products, pooling, losses, indexing, composites, layers)
    ops = [op for family in families for op in family.build()]
    if len({op.name for op in ops}) != len(ops):
        raise SystemExit("two ops share a name")
    total = 0
    for op in ops:
        op.write(OUT)
        size = (OUT / f"{op.name}.json").stat().st_size
        if size > FILE_LIMIT:
            raise SystemExit(f"{op.name}.json has {size} bytes, more than {FILE_LIMIT}")
        total += size
    if total > TOTAL_LIMIT:
        raise SystemExit(f"{total} bytes in all, more than {TOTAL_LIMIT}")
    print(f"{len(ops)} ops, {sum(len(op.cases) for op in ops)} cases, {total} bytes")


if __name__ == "__main__":
    main()
