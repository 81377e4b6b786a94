"""What a step of an ancestral sampler draws, by the ComfyUI whose Python runs this.

COMFYUI/.venv/bin/python tests/contract/step_noise.py COMFYUI REPOSITORY SEED
"""

from __future__ import annotations

import json
import sys


def main(comfyui: str, _repository: str, seed: str) -> None:
    sys.path.insert(0, comfyui)
    sys.argv = sys.argv[:1]
    from comfy.cli_args import args

    args.cpu = True
    import torch
    from comfy.k_diffusion.sampling import default_noise_sampler

    draw = default_noise_sampler(torch.zeros(1, 1, 2, 2), seed=int(seed))
    drawn = draw(torch.tensor(2.0), torch.tensor(1.0))
    print(json.dumps({"drawn": drawn.flatten().tolist()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
