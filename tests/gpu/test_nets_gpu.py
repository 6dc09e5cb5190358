"""The nets on a GPU: compiled they draw what the plain net draws, and a short batch compiles nothing anew."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from post.enlarge import Enlarger  # noqa: E402
from post.nets import RRDBNet, SRVGGNetCompact  # noqa: E402

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def noise(*shape: int, seed: int = 1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).to(CUDA)


def filled(net, size: float):
    for index, weights in enumerate(net.parameters()):
        weights.requires_grad_(False).copy_((noise(*weights.shape, seed=index) - 0.5) * 2 * size)
    return net.eval()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch deprecates
@pytest.mark.parametrize("kind", [RRDBNet, SRVGGNetCompact])
def test_a_short_batch_compiles_nothing_anew(kind: type):
    torch._dynamo.reset()
    net = filled(kind(64, 1).to(CUDA), 0.05)
    frames = (noise(3, 60, 80, 3) * 255).to(torch.uint8)
    plain = Enlarger(net, (160, 120), CUDA, 3)(frames)
    enlarger = Enlarger(filled(kind(64, 1).to(CUDA), 0.05), (160, 120), CUDA, 3, compile=True)
    whole = enlarger(frames)
    assert whole.dtype == torch.float16
    assert (whole.float() - plain.float()).abs().max() < 2 / 255
    with torch.compiler.set_stance("fail_on_recompile"):
        for count in (1, 2, 3):
            assert (enlarger(frames[:count]) - whole[:count]).abs().max() < 1 / 255
