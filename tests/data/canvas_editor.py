"""ComfyUI's own editor in a Chromium of this machine, for recordings and for tests/browser."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from playwright.sync_api import Browser, Locator, Page, TimeoutError, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

# What one wait may take on a busy machine, in ms; under the limit that pytest has for one test.
PATIENCE = 120_000
# What a dialog gets to close before it is asked again, in ms.
_CLOSING = 5_000

_DIALOG = "[role=dialog]:visible"

# All extensions are set up and the first workflow is open: a blank one with the dialog of templates
# on the first visit to a server, the default one later.
UP = """() => {
  const found = window.app?.extensionManager;
  const first = document.querySelector('[role=dialog]') || window.app?.graph?.nodes.length;
  return Boolean(found?.workflow?.activeWorkflow && !found.spinner && first
    && window.LiteGraph.registered_node_types.SpriteworksSaveSprite);
}"""
# For the message where it does not come up.
_STATE = """() => ({
  app: Boolean(window.app?.extensionManager),
  pack: Boolean(window.LiteGraph?.registered_node_types?.SpriteworksSaveSprite),
  workflow: window.app?.extensionManager?.workflow?.activeWorkflow?.path,
  spinner: window.app?.extensionManager?.spinner,
  nodes: window.app?.graph?.nodes.length,
  text: document.body.innerText.slice(0, 300),
})"""

# Editors before Nodes 2.0 hid the beginnings of it, in which few widgets work.
_OFFERED = "() => app.ui.settings.settingsLookup['Comfy.VueNodes.Enabled']?.type === 'boolean'"
_RENDERER = "value => app.ui.settings.setSettingValueAsync('Comfy.VueNodes.Enabled', value)"
# What the list of templates does with the one that is clicked.
_LOAD_TEMPLATE = """async ([pack, name]) => {
  const address = app.api.apiURL(`/workflow_templates/${pack}/${name}.json`);
  const found = await (await fetch(address)).json();
  await app.loadGraphData(found, true, true, name, {openSource: 'template'});
}"""
# The id of what the editor has sent, once it runs.
_RUN = """() => new Promise((resolve, reject) => {
  const started = ({detail}) => resolve(detail.prompt_id);
  app.api.addEventListener('execution_start', started, {once: true});
  app.queuePrompt(0).then(() => {
    const errors = JSON.stringify(app.lastNodeErrors ?? {});
    if (errors !== '{}') reject(new Error(errors));
  });
})"""

# For changes in short: node(id), add(class), join(from, output, to, input name), ...
_HELPERS = """() => {
  window.node = id => app.graph.getNodeById(id);
  window.add = kind => {
    const made = LiteGraph.createNode(kind);
    made.pos = [900, 900];
    app.graph.add(made);
    return made;
  };
  window.slot = (at, name) => at.inputs.findIndex(input => input.name === name);
  window.join = (from, output, to, name) => from.connect(output, to, slot(to, name));
  window.cut = (at, ...names) => names.forEach(name => at.disconnectInput(slot(at, name)));
  window.put = (at, values) => at.widgets.forEach(widget => {
    if (widget.name in values) widget.value = values[widget.name];
  });
  window.reopen = () => app.loadGraphData(app.graph.serialize());
  window.pack = (...nodes) => app.graph.convertToSubgraph(new Set(nodes)).node;
}"""

_OPENED = "name => app.extensionManager.workflow.activeWorkflow?.filename === name"
_COMMAND = "name => app.extensionManager.command.execute(name)"
_MASK_EDITOR = "Comfy.MaskEditor.OpenMaskEditor"
_HAS_MASK_EDITOR = f"""() => app.extensionManager.command.commands
  .some(one => one.id === '{_MASK_EDITOR}')"""
_SELECT_PICTURE = """() => {
  app.canvas.deselectAll();
  app.canvas.select(app.graph.nodes.find(one => one.type === 'LoadImage'));
}"""
_PICTURE = """() => app.graph.nodes.find(one => one.type === 'LoadImage').widgets[0].value"""
# px; half the length of a stroke of the mouse
_STROKE = 20


class Editor:
    """ComfyUI's editor in a browser page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def load(self, canvas: Any) -> None:
        """Open a canvas file."""
        self.page.evaluate("async data => { await app.loadGraphData(data); }", canvas)

    def load_template(self, name: str, pack: str = "spriteworks") -> None:
        """Open a template as a click in their list does, without the list."""
        self.page.evaluate(_LOAD_TEMPLATE, [pack, name])

    def renderers(self) -> tuple[bool, ...]:
        """Which renderers there are: False is the classic one, True Nodes 2.0."""
        return (False, True) if self.page.evaluate(_OFFERED) else (False,)

    def draw_with(self, modern: bool) -> None:
        """Choose the renderer."""
        self.page.evaluate(_RENDERER, modern)

    def run(self) -> str:
        """Press Run; the id of the job, once it runs. Raises playwright's Error where refused."""
        return str(self.page.evaluate(_RUN))

    def open_template(self, pack: str, name: str) -> None:
        """Open a template by its card in the list of templates."""
        self.page.evaluate(_COMMAND, "Comfy.BrowseTemplates")
        shown = self.page.get_by_role("dialog")
        shown.get_by_text(pack, exact=True).first.click()
        shown.get_by_test_id(f"template-workflow-{name}").click()
        self.page.wait_for_function(_OPENED, arg=name)

    def has_mask_editor(self) -> bool:
        """Whether a command of this editor opens the MaskEditor."""
        return bool(self.page.evaluate(_HAS_MASK_EDITOR))

    def paint_over(self, across: float, down: float) -> None:
        """Paint one stroke on the picture of the first Load Image, as its only mask.

        `across` and `down` say where: shares of the picture's width and height, from 0 to 1.
        """
        self.page.evaluate(_SELECT_PICTURE)
        self.page.evaluate(_COMMAND, _MASK_EDITOR)
        # Older editors have an element of their own for it, which is no dialog to a screen reader.
        dialog = self.page.locator("[role=dialog], #maskEditor")
        # What is cleared before the picture is there comes with it.
        picture = self._resting(dialog.locator("canvas").last)
        dialog.get_by_role("button", name="Clear").click()
        x, y = picture["x"] + across * picture["width"], picture["y"] + down * picture["height"]
        self.page.mouse.move(x, y - _STROKE)
        self.page.mouse.down()
        self.page.mouse.move(x, y + _STROKE, steps=5)
        self.page.mouse.up()
        before = self.page.evaluate(_PICTURE)
        dialog.get_by_role("button", name="Save").click()
        self.page.wait_for_function(f"before => ({_PICTURE})() !== before", arg=before)
        dialog.wait_for(state="hidden")

    def _resting(self, shown: Locator) -> dict[str, float]:
        """Where an element is once it stays there: the MaskEditor zooms when it has its picture."""
        before = None
        while (now := shown.bounding_box()) is None or now != before:
            before = now
            self.page.wait_for_timeout(500)
        return dict(now)

    def graph(self, canvas: Any) -> Any:
        """The graph that the editor would send for a canvas file."""
        self.load(canvas)
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")

    def changed(self, canvas: Any, version: float, script: str) -> Any:
        """Open a canvas file, change it and save it in that version of the format."""
        self.load(canvas)
        self.page.evaluate(f"async () => {{ {script} }}")
        save = "serialize" if version < 1 else "asSerialisable"
        return self.page.evaluate(f"() => app.graph.{save}()")

    def complaints(self) -> list[str]:
        """The classes of the nodes in red: the class is unknown, a file missing, a run failed."""
        return self.page.evaluate(
            "() => app.graph.nodes.filter(n => n.has_errors || !n.constructor.nodeData && "
            "!n.isVirtualNode).map(n => n.type)"
        )

    def dialogs(self) -> list[str]:
        """The texts of the dialogs that are open."""
        return list(self.page.locator(_DIALOG).all_inner_texts())

    def close_dialogs(self) -> None:
        """Close what the editor shows by itself, as a person does. Raises RuntimeError."""
        late = time.monotonic() + PATIENCE / 1000
        while shown := self.dialogs():
            if time.monotonic() > late:
                raise RuntimeError(f"the editor's dialog does not close: {shown[-1][:300]}")
            self.page.keyboard.press("Escape")
            # A dialog that is still opening may not hear the key: it is pressed again then.
            with suppress(TimeoutError):
                self.page.locator(_DIALOG).nth(len(shown) - 1).wait_for(
                    state="hidden", timeout=_CLOSING
                )


def browser() -> str | None:
    """The program of a Chromium on this machine."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run this machine's Chromium until the block ends."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=browser(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        try:
            yield started
        finally:
            started.close()


@contextmanager
def editor(url: str) -> Iterator[Editor]:
    """Open the editor of the server at `url`, with nothing over its canvas.

    Raises RuntimeError, with what the page shows, where it does not come up.
    """
    with chromium() as started:
        page = started.new_page(viewport={"width": 1800, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.goto(url, wait_until="domcontentloaded")
        try:
            page.wait_for_function(UP)
        except TimeoutError as error:
            raise RuntimeError(f"the editor does not come up: {page.evaluate(_STATE)}") from error
        at = Editor(page)
        at.close_dialogs()
        page.evaluate(_HELPERS)
        yield at
