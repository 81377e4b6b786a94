// How a page answers with pixels: base64 of RGBA, from the top left corner.
window.picture = (width, height, bytes) => {
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return {width, height, data: btoa(text)};
};

window.fromCanvas = (canvas, width, height) => {
  const copy = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
  copy.drawImage(canvas, 0, 0);
  return window.picture(width, height, copy.getImageData(0, 0, width, height).data);
};

// What is shown, and for how many ms, when `step(ms)` moves time on and `shown()` names the frame.
window.timeline = (total, step, shown) => {
  const found = [];
  for (let time = 0; time < total; time += 5) {
    const name = shown();
    if (found.length && found.at(-1)[0] === name) found.at(-1)[1] += 5;
    else found.push([name, 5]);
    step(5);
  }
  return found;
};
