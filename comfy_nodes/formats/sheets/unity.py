"""Unity: rectangles and animations as JSON, an importer script that reads them, and a .meta.

Unity has no file of its own for a sheet, and `TextureImporter.spritesheet` is gone since 6.1. The
script goes through `ISpriteEditorDataProvider` of the package com.unity.2d.sprite (manual, "Sprite
Editor Data Provider API"). Rectangles and pivots are from the bottom left corner; a pivot is a
share of the trimmed rectangle and may be outside of it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ...ops.frames import Frame
from ...ops.sheet import PlacedFrame, Sheet, ground
from .files import Files, as_json, number, page_names, pages

SCRIPT = "SpriteworksSheetImporter.cs"


def write(sheet: Sheet, name: str) -> Files:
    """NAME.png, NAME.png.meta, NAME.unity.json and the importer script, which goes into Editor/."""
    made = {**pages(sheet, name), SCRIPT: _SCRIPT.encode("ascii")}
    for page, image in enumerate(page_names(sheet, name)):
        made[f"{image}.meta"] = _meta(sheet, image).encode("ascii")
        made[image.removesuffix(".png") + ".unity.json"] = as_json(_page(sheet, page, image))
    return made


def _page(sheet: Sheet, page: int, image: str) -> dict[str, Any]:
    height, width = sheet.pages[page].shape[:2]
    here = {
        frame.name: (frame, at)
        for frame, at in zip(sheet.frames, sheet.placements, strict=True)
        if at.page == page
    }
    animations = [
        {
            "name": one.name,
            "loop": one.loop,
            "frames": [
                {"sprite": frame, "duration": here[frame][0].duration} for frame in one.played
            ],
        }
        for one in sheet.animations
        if all(frame in here for frame in one.frames)
    ]
    return {
        "image": image,
        "size": {"w": width, "h": height},
        "pixelsPerUnit": _pixels_per_unit(sheet),
        "sprites": [_sprite(frame, at, height) for frame, at in here.values()],
        "animations": animations,
    }


def _sprite(frame: Frame, at: PlacedFrame, page_height: int) -> dict[str, Any]:
    x, y = ground(frame)
    across, down = x - frame.offset[0], y - frame.offset[1]
    return {
        "name": frame.name,
        "rect": {"x": at.x, "y": page_height - at.y - at.height, "w": at.width, "h": at.height},
        "pivot": {"x": number(across / at.width), "y": number(1 - down / at.height)},
    }


def _pixels_per_unit(sheet: Sheet) -> int:
    """So that the highest frame is one unit high."""
    return max(frame.source[1] for frame in sheet.frames)


def _meta(sheet: Sheet, image: str) -> str:
    # by the name alone: what refers to the texture keeps on doing so when the sheet is written anew
    guid = hashlib.md5(f"spriteworks/{image}".encode(), usedforsecurity=False).hexdigest()
    return _META.format(guid=guid, pixels=_pixels_per_unit(sheet))


_META = """\
fileFormatVersion: 2
guid: {guid}
TextureImporter:
  serializedVersion: 12
  mipmaps:
    mipMapMode: 0
    enableMipMap: 0
    sRGBTexture: 1
  isReadable: 0
  maxTextureSize: 16384
  textureSettings:
    serializedVersion: 2
    filterMode: 0
    aniso: 1
    mipBias: 0
    wrapU: 1
    wrapV: 1
    wrapW: 1
  nPOTScale: 0
  spriteMode: 2
  spriteExtrude: 1
  spriteMeshType: 0
  alignment: 0
  spritePivot: {{x: 0.5, y: 0.5}}
  spritePixelsToUnits: {pixels}
  alphaUsage: 1
  alphaIsTransparency: 1
  textureType: 8
  textureShape: 1
  platformSettings:
  - serializedVersion: 3
    buildTarget: DefaultTexturePlatform
    maxTextureSize: 16384
    textureFormat: -1
    textureCompression: 0
    compressionQuality: 50
    crunchedCompression: 0
    overridden: 0
"""

_SCRIPT = """\
// Cuts NAME.png into the sprites that NAME.unity.json beside it names, whenever Unity imports it.
// Put this file into a folder named Editor. It needs the package com.unity.2d.sprite.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using UnityEditor;
using UnityEditor.U2D.Sprites;
using UnityEngine;

public sealed class SpriteworksSheetImporter : AssetPostprocessor
{
    [Serializable] private class Sheet
    {
        public float pixelsPerUnit = 100;
        public Cut[] sprites = {};
        public Clip[] animations = {};
    }

    [Serializable] private class Cut { public string name; public Box rect; public Point pivot; }
    [Serializable] private class Box { public float x, y, w, h; }
    [Serializable] private class Point { public float x, y; }
    [Serializable] private class Shown { public string sprite; public float duration; }
    [Serializable] private class Clip
    {
        public string name;
        public bool loop;
        public Shown[] frames;
    }

    private void OnPreprocessTexture()
    {
        var file = Path.ChangeExtension(assetPath, ".unity.json");
        if (!File.Exists(file)) return;
        var sheet = JsonUtility.FromJson<Sheet>(File.ReadAllText(file));
        var importer = (TextureImporter)assetImporter;
        importer.textureType = TextureImporterType.Sprite;
        importer.spriteImportMode = SpriteImportMode.Multiple;
        importer.spritePixelsPerUnit = sheet.pixelsPerUnit;
        importer.filterMode = FilterMode.Point;
        importer.mipmapEnabled = false;
        importer.textureCompression = TextureImporterCompression.Uncompressed;

        var factories = new SpriteDataProviderFactories();
        factories.Init();
        var provider = factories.GetSpriteEditorDataProviderFromObject(importer);
        provider.InitSpriteEditorDataProvider();
        // a sprite that was there keeps its id, so what refers to it does, too
        var known = provider.GetSpriteRects()
            .GroupBy(one => one.name)
            .ToDictionary(same => same.Key, same => same.First().spriteID);
        var rects = sheet.sprites.Select(cut => new SpriteRect
        {
            name = cut.name,
            spriteID = known.TryGetValue(cut.name, out var id) ? id : GUID.Generate(),
            rect = new Rect(cut.rect.x, cut.rect.y, cut.rect.w, cut.rect.h),
            alignment = SpriteAlignment.Custom,
            pivot = new Vector2(cut.pivot.x, cut.pivot.y),
        }).ToArray();
        provider.SetSpriteRects(rects);
        provider.GetDataProvider<ISpriteNameFileIdDataProvider>()?.SetNameFileIdPairs(
            rects.Select(one => new SpriteNameFileIdPair(one.name, one.spriteID)));
        provider.Apply();
    }

    [MenuItem("Assets/Spriteworks/Make Animation Clips")]
    private static void MakeClips()
    {
        foreach (var texture in Selection.objects.OfType<Texture2D>())
        {
            var path = AssetDatabase.GetAssetPath(texture);
            var file = Path.ChangeExtension(path, ".unity.json");
            if (!File.Exists(file)) continue;
            var sprites = AssetDatabase.LoadAllAssetsAtPath(path).OfType<Sprite>()
                .ToDictionary(one => one.name);
            foreach (var clip in JsonUtility.FromJson<Sheet>(File.ReadAllText(file)).animations)
                Save(clip, sprites, Path.ChangeExtension(path, null) + "_" + clip.name + ".anim");
        }
        AssetDatabase.SaveAssets();
    }

    private static void Save(Clip clip, Dictionary<string, Sprite> sprites, string path)
    {
        var keys = new List<ObjectReferenceKeyframe>();
        var time = 0f;
        foreach (var shown in clip.frames)
        {
            keys.Add(new ObjectReferenceKeyframe { time = time, value = sprites[shown.sprite] });
            time += shown.duration / 1000f;
        }
        // a key at the end, or the last frame would be shown for one sample only
        keys.Add(new ObjectReferenceKeyframe { time = time, value = keys[keys.Count - 1].value });
        var made = new AnimationClip { frameRate = 1000 };
        var binding = EditorCurveBinding.PPtrCurve("", typeof(SpriteRenderer), "m_Sprite");
        AnimationUtility.SetObjectReferenceCurve(made, binding, keys.ToArray());
        var settings = AnimationUtility.GetAnimationClipSettings(made);
        settings.loopTime = clip.loop;
        AnimationUtility.SetAnimationClipSettings(made, settings);
        AssetDatabase.CreateAsset(made, path);
    }
}
"""
