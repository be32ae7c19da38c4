"""Every kernel of the core below the renderer compiles for the GPUs in use, without having one."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
import warp as wp

from dr_perception import body, device, estimate, fitting, hypothesis, measure, raster, tracking, view

ARCHITECTURES = (75, 86, 90)


def kernel_modules() -> list[str]:
    """Modules of the core that define kernels."""
    found = []
    for package in (device, body, raster, view, measure, estimate, hypothesis, fitting, tracking):
        for info in pkgutil.iter_modules(package.__path__):
            if "@wp.kernel" in Path(package.__path__[0], f"{info.name}.py").read_text():
                found.append(f"{package.__name__}.{info.name}")
    return found


def test_the_modules_are_found() -> None:
    assert {"dr_perception.measure.depth", "dr_perception.estimate.levenberg_marquardt"} <= set(
        kernel_modules()
    )


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
