"use strict";
for (const video of document.querySelectorAll("video")) {
  // Safari asks for parts of a video, which data: has not; a blob has.
  const bytes = Uint8Array.from(atob(video.src.split(",")[1]), (c) => c.charCodeAt(0));
  video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  const fps = Number(video.dataset.fps), seam = Math.round(Number(video.dataset.seam) * fps);
  const show = (frame) => {
    video.pause();
    video.currentTime = Math.max(0, frame + 0.5) / fps;
  };
  const now = () => Math.floor(video.currentTime * fps + 0.01);
  const steps = document.createElement("div");
  steps.className = "steps";
  for (const [says, to] of [
    ["Last frame before", () => seam - 1],
    ["First frame after", () => seam],
    ["One back", () => now() - 1],
    ["One on", () => now() + 1],
  ]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = says;
    button.addEventListener("click", () => show(to()));
    steps.append(button);
  }
  video.after(steps);
}
