"""What no server says of ComfyUI's own nodes and samplers, in one place, each with its reason.

Nodes of ours declare it with their inputs, see `NodeClass.treats_singly`.
"""

from __future__ import annotations

# Treat every picture of a batch by itself, so that it may share a graph with others: each works
# along the first axis of its tensors without looking from one picture to the next.
PER_PICTURE = frozenset(
    {
        "VAEDecode",
        "VAEDecodeTiled",
        "ImageScale",
        "ImageScaleBy",
        "ImageInvert",
        "SaveImage",
    }
)
# Samplers that treat every picture by itself. Adaptive ones choose their steps by the whole batch,
# and sde ones draw one noise for it.
PER_PICTURE_SAMPLERS = frozenset(
    {
        "euler",
        "euler_ancestral",
        "heun",
        "dpm_2",
        "dpm_2_ancestral",
        "lms",
        "dpmpp_2s_ancestral",
        "dpmpp_2m",
        "ddim",
        "ddpm",
        "lcm",
    }
)
# The sampler and the empty latent whose seeds can be told apart: their noise is drawn from one
# seed, in one go, before the first step.
SEEDED_SAMPLER, SEEDED_LATENT = "KSampler", "EmptyLatentImage"
# Gives every picture its own seed, in the place of the empty latent.
SEED_BATCH = "SpriteworksSeedBatch"
# The same decoder in tiles, which needs less memory.
TILED = {"VAEDecode": "VAEDecodeTiled"}
# What comes into it has no say in what goes out.
ZEROED_CONDITIONING = "ConditioningZeroOut"
# Sends its pictures over the WebSocket and keeps none.
WEBSOCKET_OUTPUT = "SaveImageWebsocket"
# Lists that a node's own check judges in place of the server, by class: they name what its machine
# has, and a choice that it lacks is let through, for the node to do without.
JUDGED_BY_NODE = {
    "ModelAttentionBackend": "attention",
    "SelectModelDevice": "device",
    "SelectCLIPDevice": "device",
    "SelectVAEDevice": "device",
}
