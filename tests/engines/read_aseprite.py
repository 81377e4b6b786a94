"""Says as JSON what two readers find in an .aseprite file; runs in a Python that has them."""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from pathlib import Path

from aseprite import Sprite
from aseprite_reader import AsepriteFile

file = Path(sys.argv[1])

sprite = Sprite.open(file)
first = {
    "size": list(sprite.size),
    "frames": [
        {
            "duration": frame.duration_ms,
            "width": sprite.size[0],
            "height": sprite.size[1],
            "data": base64.b64encode(sprite.flatten(index)).decode(),
        }
        for index, frame in enumerate(sprite.frames)
    ],
    "tags": [
        [tag.name, tag.from_frame, tag.to_frame, tag.direction.name.lower(), tag.repeat]
        for tag in sprite.tags
    ],
    "pivots": [
        [key.x + key.pivot[0], key.y + key.pivot[1]] for one in sprite.slices for key in one.keys
    ],
}

other = AsepriteFile(file)
frames = []
with tempfile.TemporaryDirectory() as folder:
    for number, frame in other.iter_frames():
        target = Path(folder) / f"{number}.png"
        try:
            other.render(frame, target)
        except NotImplementedError:  # a linked cel
            frames.append(None)
            continue
        frames.append(base64.b64encode(target.read_bytes()).decode())
second = {
    "frames": frames,
    "durations": [frame.duration for _, frame in other.iter_frames()],
    "tags": [[tag.name, tag.from_frame, tag.to_frame] for tag in other.tags],
}
print(json.dumps({"aseprite": first, "reader": second}))
