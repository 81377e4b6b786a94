"""What only ComfyUI's editor knows: nodes that live in it alone, and what it adds to a server's.

No server tells these, so they stand here, once, as ComfyUI_frontend 1.48.7 has them.
"""

from __future__ import annotations

from collections.abc import Collection

from .inputs import WIDGETS, NodeInput

# Nodes of the editor itself: texts for people.
NOTES = frozenset({"Note", "MarkdownNote"})
# Nodes that hand on what comes in: the editor's own, and those of widespread packs.
REROUTES = frozenset({"Reroute", "Reroute (rgthree)", "ReroutePrimitive|pysssss"})
# A value that goes into the widgets that it is linked to.
PRIMITIVE = "PrimitiveNode"
# Pairs that hand a link on under a name, their first value (KJNodes, Easy-Use and others).
SETTERS = frozenset({"SetNode", "easy setNode"})
GETTERS = frozenset({"GetNode", "easy getNode"})

# A primitive with this property turned on replaces %...% in its text.
REPLACES = "Run widget replace on values"
# The property by which %...% finds a node, before its title.
ALIAS = "Node name for S&R"

# Classes in whose file name the editor replaces %...% before it sends the graph.
PREFIX = "filename_prefix"
PREFIXED = frozenset(
    {
        "SaveImage",
        "SaveImageAdvanced",
        "SaveSVGNode",
        "SaveVideo",
        "SaveAnimatedWEBP",
        "SaveWEBM",
        "SaveAudio",
        "SaveAudioMP3",
        "SaveAudioOpus",
        "SaveAudioAdvanced",
        "SaveGLB",
        "Save3DAdvanced",
        "SaveGaussianSplat",
        "SavePointCloud",
        "SaveAnimatedPNG",
        "CLIPSave",
        "VAESave",
        "ModelSave",
        "LoraSave",
        "SaveLatent",
    }
)

# Values that the editor makes while it sends: a camera's picture, a scene as it is turned.
MADE_WHILE_SENDING = frozenset({"LOAD_3D", "LOAD_3D_ADVANCED", "WEBCAM", "AUDIO_RECORD"})

# A list of choices that its own further texts name.
OWN_CHOICES = "CustomCombo"
CHOICE, INDEX, OPTION = "choice", "index", "option"

# The switch and the button behind choices that the editor fetches; the button's label goes along.
AUTO_REFRESH, REFRESH = "Auto-refresh after generation", "refresh"

# Buttons of a 3D scene, whose labels go along with the graph.
_SCENE_BUTTONS = {
    "upload 3d model": "upload3dmodel",
    "upload extra resources": "uploadExtraResources",
    "clear": "clear",
}
# Inputs that the editor sends, or once sent, along with those of a node; servers drop them.
SENT_ALONG = frozenset(
    {
        "upload",
        "choose file to upload",
        "control_after_generate",
        "speak_and_recognation",
        REFRESH,
        *_SCENE_BUTTONS,
    }
)
_PREVIEWED = ("SaveGLB", "Preview3D")
_MEDIA = ("image", "video", "animated_image")


def added_inputs(name: str, inputs: tuple[NodeInput, ...]) -> tuple[NodeInput, ...]:
    """The inputs behind those of a class that only the editor has."""
    found = []
    if name in _PREVIEWED:
        found.append(_added("image", "PREVIEW_3D"))
    if any(_takes_media(entry) for entry in inputs):
        found.append(_added("upload", "IMAGEUPLOAD"))
    elif any(entry.name == "audio" and entry.extra.get("audio_upload") for entry in inputs):
        found.append(_added("upload", "AUDIOUPLOAD"))
    return tuple(found)


def buttons_before(entry: NodeInput, names: Collection[str]) -> dict[str, str]:
    """Labels, by name, of what the editor puts before an input and sends along."""
    return _SCENE_BUTTONS if entry.type == "LOAD_3D" and "model_file" in names else {}


def _takes_media(entry: NodeInput) -> bool:
    declared = any(entry.extra.get(f"{kind}_upload") is True for kind in _MEDIA)
    return declared and entry.required and entry.type == "COMBO"


def _added(name: str, kind: str) -> NodeInput:
    return NodeInput(name=name, type=kind, required=True, widget=WIDGETS[kind])
