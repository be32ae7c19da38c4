"""Every kernel of the renderer compiles for the GPUs in use, on a machine that need not have one."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
import warp as wp

import dr_perception.render

ARCHITECTURES = (75, 86, 90)


def kernel_modules() -> list[str]:
    """Modules of the package that define kernels."""
    found = []
    for info in pkgutil.iter_modules(dr_perception.render.__path__):
        name = f"{dr_perception.render.__name__}.{info.name}"
        if "@wp.kernel" in Path(dr_perception.render.__path__[0], f"{info.name}.py").read_text():
            found.append(name)
    return found


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
