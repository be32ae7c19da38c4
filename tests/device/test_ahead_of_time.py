"""Every kernel of the package compiles for the GPUs in use, on a machine that need not have one."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import warp as wp

import dr_perception
from dr_perception.doctor import kernel_modules

ARCHITECTURES = (75, 86, 90)
PACKAGE = Path(dr_perception.__file__).parent


def test_every_module_that_writes_a_kernel_is_compiled_before_the_first_use() -> None:
    written = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if any(line.startswith("@wp.kernel") for line in path.read_text().splitlines())
    }
    assert len(written) > 40
    assert written <= set(kernel_modules())


@pytest.mark.parametrize("name", kernel_modules())
def test_kernels_compile_for_cuda(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(name)
    try:
        wp.compile_aot_module(
            module, device=None, arch=list(ARCHITECTURES), module_dir=tmp_path, use_ptx=True
        )
    except RuntimeError as error:
        if "NVRTC" in str(error) or "CUDA" in str(error):
            pytest.skip(f"this Warp has no CUDA compiler: {error}")
        raise
    for arch in ARCHITECTURES:
        assert list(tmp_path.glob(f"*sm{arch}*")), (
            f"nothing compiled for sm_{arch}: {list(tmp_path.iterdir())}"
        )
