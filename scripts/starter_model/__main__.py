"""The starter model of the whole world: examples, judge, training, figures, export.

    python -m scripts.starter_model prepare  --tiles tiles.npz --out DIR
    python -m scripts.starter_model judge    --tiles tiles.npz --out DIR --minutes 6
    python -m scripts.starter_model vae      --tiles tiles.npz --out DIR --minutes 50 --workers 2
    python -m scripts.starter_model text     --tiles tiles.npz --out DIR --minutes 60 --workers 2
    python -m scripts.starter_model train    --tiles tiles.npz --out DIR --minutes 140 --workers 2
    python -m scripts.starter_model decoder  --tiles tiles.npz --out DIR --minutes 12 --workers 2
    python -m scripts.starter_model rewording --tiles tiles.npz --out DIR --minutes 20 --workers 2
    python -m scripts.starter_model export   --tiles tiles.npz --out DIR --model FOLDER
    python -m scripts.starter_model evaluate --tiles tiles.npz --out DIR --model FOLDER
    python -m scripts.starter_model near     --tiles tiles.npz --out DIR --model FOLDER
    python -m scripts.starter_model sheet    --tiles tiles.npz --out DIR
    python -m scripts.starter_model drawings-judge

`train` prepares what is missing, keeps a checkpoint every five minutes and goes on from it, and
writes figures and contact sheets into DIR/watch. Without --tiles (or SPRITEWORKS_TILES) everything
works with the project's own drawings.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import stages

REPOSITORY = Path(__file__).resolve().parents[2]


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.starter_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=list(stages.STAGES))
    parser.add_argument("--tiles", type=Path, help="the tiles.npz (default: SPRITEWORKS_TILES)")
    parser.add_argument("--out", type=Path, default=Path("starter-work"), help="folder of the work")
    parser.add_argument(
        "--model",
        type=Path,
        default=REPOSITORY / "comfy_nodes" / "model_files" / "spriteworks-starter",
        help="model folder that export writes and evaluate reads",
    )
    parser.add_argument("--start", type=Path, help="model folder to go on from")
    parser.add_argument("--minutes", type=float, help="training time, all sittings together")
    parser.add_argument("--steps", type=int, help="training steps, all sittings together")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--batch", type=int, default=32, help="pictures a worker and step")
    parser.add_argument("--singles", type=int, default=80000, help="examples of one picture")
    parser.add_argument("--walks", type=int, default=6000, help="examples of four frames")
    parser.add_argument(
        "--watch", type=float, default=40.0, help="minutes between figures; 0: none"
    )
    parser.add_argument("--cfg", type=float, help="guidance (default: the model's)")
    parser.add_argument("--part", choices=("first", "held"), default="first", help="which prompts")
    parser.add_argument("--limit", type=int, help="prompts, outfits and walks of each kind at most")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; 0 on success, 2 for what cannot be used."""
    options = build_parser().parse_args(arguments)
    try:
        stages.STAGES[options.stage](options)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
