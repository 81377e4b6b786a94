"""Draws, trains, judges and exports the starter model.

Examples:
    python scripts/train_starter_model.py draw --out sheet.png
    python scripts/train_starter_model.py judge --minutes 3
    python scripts/train_starter_model.py vae --minutes 20
    python scripts/train_starter_model.py text --minutes 4
    python scripts/train_starter_model.py unet --minutes 45
    python scripts/train_starter_model.py export
    python scripts/train_starter_model.py evaluate --pairs 100 --out sheet.png
    python scripts/train_starter_model.py all --device cuda --size 128 --model big-starter

Every stage keeps a checkpoint in the work folder and goes on from there when run again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts.starter_model.stages import STAGES, Options  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=[*STAGES, "all"], help="what to do")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("starter-work"),
        help="folder of checkpoints and caches (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=REPOSITORY / "comfy_nodes" / "model_files" / "spriteworks-starter",
        help="model folder that export writes and evaluate reads",
    )
    parser.add_argument(
        "--judge",
        type=Path,
        default=REPOSITORY / "tests" / "data" / "judge.safetensors",
        help="weights of the judge",
    )
    parser.add_argument("--out", type=Path, help="picture that draw and evaluate write")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="training time of the stage, all sittings")
    parser.add_argument("--steps", type=int, help="training steps of the stage")
    parser.add_argument(
        "--size",
        type=int,
        default=64,
        choices=(64, 128, 256),
        help="side of the pictures in pixels (default: %(default)s)",
    )
    parser.add_argument("--batch", type=int, help="pictures a step")
    parser.add_argument(
        "--drawings", type=int, default=38000, help="drawings to train on (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's own)")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that train together, one thread each (default: 1)",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of drawings and training")
    parser.add_argument("--pairs", type=int, default=100, help="prompt and seed pairs to evaluate")
    parser.add_argument(
        "--cfg", type=float, help="guidance to evaluate with (default: the model's)"
    )
    parser.add_argument("--sampler", choices=("euler_ancestral", "ddim"), default="euler_ancestral")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; 0 on success."""
    options = Options(**vars(build_parser().parse_args(arguments)))
    names = list(STAGES) if options.stage == "all" else [options.stage]
    for name in names:
        print(f"stage {name}", flush=True)
        STAGES[name](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
