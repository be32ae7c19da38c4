"""Learn how a part lies and what colour it has from pictures alone, with networks around the renderer.

A generator turns noise into poses and a colour, the renderer draws them, and a discriminator tells the drawn
pictures from real ones, no two of which show the same. Needs PyTorch (``pip install dr_perception[torch]``).

python examples/adversarial_looks.py
"""

from __future__ import annotations

import numpy as np
import torch
from common import demo_bracket, pinhole

import dr_perception as drp
from dr_perception.geometry.se3 import retract

COLOR = (0.85, 0.3, 0.15)
"""Linear RGB of the real part, which only its pictures tell."""
SHIFT_M = np.array([0.012, -0.008, 0.0])
"""Where the real parts lie on average, from where the generator puts them at first."""
SPREAD = np.array([0.004, 0.004, 0.006, 0.1, 0.1, 0.1])
"""How they differ: metres, radians."""
OPTIONS = drp.RenderOptions(channels=("color", "silhouette"), supersampling=1)


class Generator(torch.nn.Module):
    """Noise to poses of a batch, and one colour."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.Tanh(), torch.nn.Linear(32, 6))
        self.color = torch.nn.Parameter(torch.zeros(3))

    def forward(self, noise: torch.Tensor) -> dict[str, torch.Tensor]:
        spread = torch.tensor(SPREAD, dtype=torch.float32)
        pose = spread * (noise + self.layers(noise))
        return {"pose": pose[:, None], "albedo": torch.sigmoid(self.color)[None]}


def pictures(images: dict[str, torch.Tensor]) -> torch.Tensor:
    """Colour and silhouette, channels first."""
    return torch.cat([images["color"], images["silhouette"][..., None]], -1).permute(0, 3, 1, 2)


def discriminator(height: int, width: int) -> torch.nn.Module:
    """A score of pictures, higher for real ones."""
    size = 16 * ((height + 3) // 4) * ((width + 3) // 4)
    return torch.nn.Sequential(
        torch.nn.Conv2d(4, 8, 3, 2, 1), torch.nn.LeakyReLU(0.2),
        torch.nn.Conv2d(8, 16, 3, 2, 1), torch.nn.LeakyReLU(0.2),
        torch.nn.Flatten(), torch.nn.Linear(size, 1),
    )  # fmt: skip


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` takes fewer steps."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the networks are so small that threads would wait for each other
    batch, steps = 8, (150 if small else 600)
    camera = pinhole(48, 36, 60.0)
    part = demo_bracket()
    plain = drp.Mesh(part.mesh.vertices, part.mesh.faces)
    T = np.eye(4)
    T[2, 3] = 2.5 * part.diameter_m
    scene = drp.Scene.of(plain, T)
    renderer = drp.Renderer()
    poses = np.repeat(T[None, None], batch, axis=0)
    parameters = renderer.parameters(scene, camera, poses=poses, requires_grad=("pose", "albedo"))
    T_real = retract(T, np.concatenate([SHIFT_M, np.zeros(3)]))
    real = renderer.parameters(
        scene, camera, poses=np.repeat(T_real[None, None], batch, axis=0), requires_grad=("pose", "albedo")
    )

    def real_pictures() -> torch.Tensor:
        tangents = torch.randn(batch, 1, 6) * torch.tensor(SPREAD, dtype=torch.float32)
        tensors = {"pose": tangents, "albedo": torch.tensor([COLOR])}
        return pictures(drp.render_torch(renderer, scene, real, tensors, OPTIONS))

    generator, judge = Generator(), discriminator(camera.height, camera.width)
    front = torch.optim.Adam(generator.parameters(), lr=1e-2, betas=(0.5, 0.9))
    behind = torch.optim.Adam(judge.parameters(), lr=2e-3, betas=(0.5, 0.9))

    def errors() -> tuple[float, float]:
        with torch.no_grad():
            made = generator(torch.randn(256, 6))
        off = made["pose"][:, 0, :2].mean(0).numpy() - SHIFT_M[:2]
        return float(np.abs(made["albedo"][0].numpy() - COLOR).mean()), 1e3 * float(np.linalg.norm(off))

    start, late = errors(), []
    for step in range(steps):
        drawn = pictures(
            drp.render_torch(renderer, scene, parameters, generator(torch.randn(batch, 6)), OPTIONS)
        )
        behind.zero_grad()
        told = (judge(real_pictures()) - 1.0).square().mean() + judge(drawn.detach()).square().mean()
        told.backward()
        behind.step()
        front.zero_grad()
        (judge(drawn) - 1.0).square().mean().backward()
        front.step()
        if step >= 0.8 * steps:
            late.append(errors())
    color, shift = np.mean(late, axis=0)
    return {"start colour": start[0], "start mm": start[1], "colour": float(color), "mm": float(shift)}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:>14}: {value:.3f}")
