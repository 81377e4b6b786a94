// What happens on which event; and the first look.
cell = Math.min(384, Math.max(64, Math.round(data.cell / 32) * 32));
if (matchMedia("(max-width: 760px)").matches) cell = Math.min(cell, 96);
at("size").value = cell;
at("size").addEventListener("input", () => { cell = Number(at("size").value); draw(); });
at("filters").addEventListener("submit", event => event.preventDefault());
at("text").addEventListener("input", choose);
at("previous").addEventListener("click", () => turn(page - 1));
at("next").addEventListener("click", () => turn(page + 1));
at("page").addEventListener("change", () => turn(Number(at("page").value) - 1));
sheet.addEventListener("keydown", keyOnSheet);
sheet.addEventListener("click", event => {
  const stage = event.target.closest(".stage");
  // With a modifier key the link does what the browser does: a new tab, a download.
  if (!stage || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  show(Number(stage.dataset.index));
});
at("earlier").addEventListener("click", () => against ? compareWith(-1) : show(open - 1));
at("later").addEventListener("click", () => against ? compareWith(1) : show(open + 1));
at("compare").addEventListener("click", toggleComparing);
at("close").addEventListener("click", () => zoom.close());
zoom.addEventListener("close", closed);
zoom.addEventListener("click", event => { if (event.target === zoom) zoom.close(); });
zoom.addEventListener("keydown", keyOnPicture);
at("save-review").addEventListener("click", saveReview);
at("copy-command").addEventListener("click", copyCommand);
at("clear-review").addEventListener("click", clearReview);
scales(at("scales"), times, value => {
  times = value;
  at("size-label").hidden = value !== "fit";
  for (const one of players) one.size();
  draw();
});
scales(at("zoom-scales"), zoomTimes, value => { zoomTimes = value; redraw(); });
document.addEventListener("keydown", event => {
  if (event.key !== "/" || zoom.open || event.target.matches("input")) return;
  event.preventDefault();
  at("text").focus();
});
addEventListener("hashchange", follow);
addEventListener("resize", () => { redraw(); if (times !== "fit") draw(); });
for (const id of ["filters", "keys", "pager", "sheet"]) at(id).hidden = false;
recallReview();
listStates();
draw();
showReview();
startAnimations();
follow();
