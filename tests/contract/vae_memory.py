"""Decodes one picture with a VAE of full size and prints what it took, as JSON; Linux only.

    PYTHON tests/contract/vae_memory.py HOST MODELS NAME SIDE TILING PRECISION OUT

HOST is `engine`, or the folder of a ComfyUI, in whose environment this is run then. NAME is one
of the models that random_models.py wrote into MODELS, SIDE the picture's in pixels; the picture is
written to OUT as NumPy's .npy. Of its own process: resident memory before the decode, with all
weights loaded, and at the decode's peak. ComfyUI runs with PyTorch's attention: what it takes by
itself on a CPU cuts the VAE's to what memory there is, so that its peak would be the machine's.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

HOST, MODELS, NAME, SIDE, TILING, PRECISION, OUT = sys.argv[1:8]
REPOSITORY = Path(__file__).resolve().parents[2]
sys.argv[1:] = ["--cpu", "--use-pytorch-cross-attention"]
sys.path.append(str(REPOSITORY))
if HOST != "engine":
    sys.path.insert(0, HOST)
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.sd

import numpy as np  # noqa: E402
import torch  # noqa: E402

from comfy_nodes.settings import LoaderSettings  # noqa: E402

CELL = 8
# Latents of trained models have about this spread, before their scaling.
SPREAD = 5.0


def main() -> None:
    seed = torch.Generator().manual_seed(0)
    latent = torch.randn(1, 4, int(SIDE) // CELL, int(SIDE) // CELL, generator=seed) * SPREAD
    decode = decoder(
        LoaderSettings.model_validate(
            {"precision": PRECISION, "vae_precision": PRECISION, "vae_tiling": TILING}
        )
    )
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before, start = memory("VmRSS"), time.perf_counter()
    with torch.inference_mode():
        picture = decode(latent)
    seconds = time.perf_counter() - start
    peak = memory("VmHWM")
    np.save(OUT, picture[0].float().numpy())
    spread = float(picture.std())
    print(json.dumps({"before": before, "peak": peak, "seconds": seconds, "spread": spread}))


def decoder(settings: LoaderSettings) -> Callable[[torch.Tensor], torch.Tensor]:
    """Latents to pictures by the VAE of a loaded folder; the rest of the model is dropped."""
    folder = Path(MODELS) / "diffusers" / NAME
    if HOST == "engine":
        from orchestrator.engine.models import loading
        from orchestrator.engine.models.vae import decode

        return partial(decode, loading.load_diffusers(folder, settings).vae)
    from comfy_nodes.native import loading as native

    run: Callable[[torch.Tensor], torch.Tensor] = native.load_diffusers(folder, settings).vae.decode
    return run


def memory(field: str) -> int:
    """A size in bytes from what the kernel says of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
