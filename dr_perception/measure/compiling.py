"""How the kernels that form rows are compiled for a CPU."""

import warp as wp


def row_options() -> dict[str, str]:
    """Module options that let multiplications fuse with additions and divisions become multiplications.

    Rows are sums of many products; this takes a tenth of their time away and changes their last bits. What
    is not a number stays so.
    """
    flags = wp.config.cpu_compiler_flags
    native = "-march=native" if flags is None else flags
    return {"cpu_compiler_flags": f"{native} -ffp-contract=fast -freciprocal-math -fno-signed-zeros"}
