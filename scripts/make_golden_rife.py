"""Makes tests/data/rife: what rife-ncnn-vulkan draws between two pictures of a moving photograph (E. Collins, NASA).

The model is tests/tiny_rife.py's: an IFNet 4.6 of full size with weights from a seed, for RIFE's own are not to be had
everywhere. Needs rife-ncnn-vulkan-python (scripts/build_rife_ncnn) and scikit-image for the photograph. It runs on the
CPU, in fp32, and on sides that are multiples of 32: the package shears others there.
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import skimage.data
from golden import save
from PIL import Image
from rife_ncnn_vulkan_python import Rife

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))

from tests.tiny_rife import write_rife46  # noqa: E402

FOLDER = ROOT / "tests" / "data" / "rife"
LEFT, TOP, WIDTH, HEIGHT = 120, 20, 160, 128  # a face and the hair about it
MOVED = (5, 3)  # pixels to the right and down, by which the window moves from one picture to the other
TIMES = (0.25, 0.5, 0.75)
CPU = -1


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    photograph = Image.fromarray(skimage.data.astronaut())
    before, after = (window(photograph, LEFT + x, TOP + y) for x, y in ((0, 0), MOVED))
    save(before, FOLDER / "before.png")
    save(after, FOLDER / "after.png")
    with TemporaryDirectory() as folder:
        model = write_rife46(Path(folder) / "rife-v4.6")
        net = Rife(gpuid=CPU, model=str(model))
        for time in TIMES:
            save(net.process(before, after, time), FOLDER / f"at-{round(100 * time)}.png")
        digest = hashlib.sha256((model / "flownet.bin").read_bytes()).hexdigest()
    package = "rife-ncnn-vulkan-python"
    made = {"by": f"{package} {version(package)}, on the CPU", "weights": digest}
    (FOLDER / "made.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def window(photograph: Image.Image, left: int, top: int) -> Image.Image:
    return photograph.crop((left, top, left + WIDTH, top + HEIGHT))


if __name__ == "__main__":
    main()
