// What htmx leaves to the page: dialogs, focus, and saying what went wrong.
"use strict";
(() => {
  const by = (id) => document.getElementById(id);
  let last = null; // the number of the last event, for a stream that is opened anew
  let focused = ""; // the id of what had the focus before a swap

  htmx.createEventSource = (url) => {
    const where = new URL(url, location.href);
    if (last !== null) {
      where.searchParams.set("after", last);
      where.searchParams.set("again", "1");
    }
    const source = new EventSource(where);
    const heard = (event) => { last = event.lastEventId || last; };
    source.addEventListener("changed", heard);
    source.addEventListener("progress", heard);
    source.addEventListener("open", () => { by("link").textContent = ""; last = last === null ? where.searchParams.get("after") : last; });
    source.addEventListener("error", () => { by("link").textContent = "The server is not there. The page goes on when it is back."; });
    return source;
  };

  const say = (text) => {
    const line = document.createElement("p");
    line.className = "wrong";
    line.textContent = text;
    by("said").replaceChildren(line);
  };

  const hush = () => {
    by("said").replaceChildren();
    delete by("said").dataset.refresh;
  };
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!event.detail.elt.matches("#refresh, .takes")) hush();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, elt } = event.detail;
    if (elt.id === "refresh" && xhr.status >= 400) by("said").dataset.refresh = "1"; // over once it looks again and all is well
    else if (elt.id === "refresh" && by("said").dataset.refresh) hush();
    if (xhr.status < 400) return;
    if ((xhr.getResponseHeader("Content-Type") || "").startsWith("text/html")) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    } else if (elt.id !== "refresh") {
      say(`The server does not do that (${xhr.status}).`);
    }
  });
  document.addEventListener("htmx:sendError", (event) => {
    if (event.detail.elt.id !== "refresh") say("The server cannot be reached.");
  });

  // A part that is the same is left as it is: pictures do not flicker, focus stays.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    focused = document.activeElement?.id || focused;
    const now = event.detail.target?.dataset?.mark;
    const then = event.detail.fragment.firstElementChild?.dataset?.mark;
    if (now !== undefined && now === then) event.detail.shouldSwap = false;
  });
  const settle = () => {
    if (document.activeElement !== document.body || !focused || document.querySelector("dialog[open]")) return;
    (by(focused) || by("job-heading"))?.focus({ preventScroll: true });
  };
  document.addEventListener("htmx:oobAfterSwap", settle);

  document.addEventListener("htmx:afterSettle", (event) => {
    const wanted = document.querySelector("[data-focus]");
    if (wanted) {
      by(wanted.dataset.focus)?.focus();
      wanted.remove();
    }
    const target = event.detail.target || event.target; // a part from the stream has none of its own
    const dialog = target.closest("dialog");
    if (dialog && !dialog.open && target.childElementCount) dialog.showModal();
    if (/^(edit|takes)-/.test(target.id)) (target.querySelector("[aria-invalid]") || target.querySelector("[data-first]"))?.focus();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-close], [data-empty]");
    if (!button) return;
    if (button.dataset.empty) {
      by(button.dataset.empty).replaceChildren();
      by(button.dataset.then)?.focus();
    } else {
      button.closest("dialog").close();
    }
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const form = event.detail.elt.closest?.("[data-closes]");
    if (form) form.closest("dialog").close();
  });
  document.addEventListener("DOMContentLoaded", () => {
    for (const dialog of document.querySelectorAll("dialog")) {
      dialog.addEventListener("close", () => {
        dialog.firstElementChild.replaceChildren(); // a film that is not seen is not played
        settle();
      });
    }
  });
})();
