// Keeps the page up to date, times in the reader's zone, and keys. Everything works without it.
"use strict";
(() => {
  const LEAST_MS = 1000; // between two fetches
  const ALWAYS_MS = 30000; // also without a signal
  const LOOK_UP_MS = 400; // after the last key
  const body = document.body;
  const root = body.dataset.root;
  const lightSwitch = document.getElementById("live-switch");
  let main = document.getElementById("main");
  let ahead = 0; // how far the server's clock is ahead of this one, in ms
  let stream = null;
  let paused = sessionStorage.getItem("paused") === "yes";
  let wanted = false;
  let signal = ""; // the one that asks for a fetch: what many pages fetch because of it is made once
  let fetching = false;
  let pressed = false; // what is pressed must not be replaced, or it is not clicked
  let fetched = Date.now();
  let timer = 0;

  // Times
  const two = (number) => String(number).padStart(2, "0");
  const clock = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ` +
    `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const utc = (at) => `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
  const span = (seconds) => {
    if (seconds < 60) return `${Math.floor(seconds)} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
  };
  const distance = (seconds) => {
    if (Math.abs(seconds) < 1) return "now";
    return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
  };
  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const ages = () => {
    const now = Date.now() + ahead;
    for (const each of document.querySelectorAll("time[data-ago]")) {
      put(each, distance((now - Date.parse(each.dateTime)) / 1000));
    }
  };
  const times = () => {
    ahead = Date.parse(main.dataset.now) - Date.now();
    const today = new Date(Date.now() + ahead).toDateString();
    const local = new Date().getTimezoneOffset() !== 0;
    for (const each of document.querySelectorAll("time[data-at]")) {
      const at = new Date(each.dateTime);
      const from = at.toDateString() === today ? 11 : 0; // of today only the time
      const fromUtc = at.getDate() === at.getUTCDate() ? 11 : 0;
      put(each, local ? `${clock(at).slice(from)} (${utc(at).slice(fromUtc)})` : utc(at).slice(from));
      each.title = local ? `${clock(at)}, ${utc(at)}` : utc(at);
    }
    for (const each of document.querySelectorAll("time[data-ago]")) {
      const at = new Date(each.dateTime);
      each.title = local ? `${clock(at)}, ${utc(at)}` : utc(at);
    }
    for (const each of document.querySelectorAll("[data-hour]")) {
      const at = new Date(each.dataset.hour);
      put(each, `${two(at.getHours())}:${two(at.getMinutes())}`);
    }
    for (const each of document.querySelectorAll("[data-zone]")) put(each, local ? "(local time)" : "(UTC)");
    ages();
  };

  // Updates
  const isTyping = () => Boolean(document.activeElement && document.activeElement.closest("input, select, textarea"));
  const isSelecting = () => { const chosen = getSelection(); return chosen !== null && !chosen.isCollapsed; };
  const mayUpdate = () =>
    !paused && !pressed && !document.hidden && !isTyping() && !isSelecting() && !document.querySelector("dialog[open]");
  const tell = () => {
    if (!lightSwitch) return;
    lightSwitch.hidden = !main.querySelector("[data-part]");
    put(lightSwitch, paused ? "Updates paused" : "Live");
    lightSwitch.setAttribute("aria-pressed", String(!paused));
    lightSwitch.title = paused ? "Resume updates (p)" : "Pause updates (p)";
  };
  const again = (part, focus) => {
    if (!focus) return;
    const same = [...part.querySelectorAll("a, button, summary")].find((each) => focus === label(each));
    if (same) same.focus({ preventScroll: true });
  };
  const label = (element) => `${element.tagName} ${element.getAttribute("href") || element.form?.getAttribute("action") || ""} ${element.textContent}`;
  const replace = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const content = fresh.getElementById("main");
    if (!content) { location.reload(); return; }
    main.dataset.now = content.dataset.now;
    document.title = fresh.title;
    for (const part of main.querySelectorAll("[data-part]")) {
      const next = content.querySelector(`#${CSS.escape(part.id)}`);
      if (!next || part.dataset.seen === next.outerHTML) continue;
      const open = [...part.querySelectorAll("details[open]")].map((each) => each.id);
      const focus = part.contains(document.activeElement) ? label(document.activeElement) : null;
      const source = next.outerHTML;
      const summary = part.querySelector("[aria-live]");
      const nextSummary = next.querySelector("[aria-live]");
      if (summary && nextSummary) { // the same element stays, so that its change is announced, and only that
        put(summary, nextSummary.textContent);
        nextSummary.replaceWith(summary);
      }
      part.className = next.className;
      part.replaceChildren(...next.childNodes);
      part.dataset.seen = source;
      for (const id of open) { const each = id && document.getElementById(id); if (each) each.open = true; }
      again(part, focus);
    }
    times();
  };
  const update = async () => {
    timer = 0;
    if (!wanted || fetching || !mayUpdate()) return;
    const reason = signal || "none";
    wanted = false;
    signal = "";
    fetching = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Fragment": reason }, cache: "no-store" });
      if (answer.redirected) { location.reload(); return; }
      const text = answer.ok ? await answer.text() : "";
      if (text && mayUpdate()) replace(text);
      else if (text) wanted = true;
    } catch { /* the stream connects again and asks for another update */ } finally {
      fetching = false;
      fetched = Date.now();
    }
    if (wanted) soon();
  };
  const soon = () => {
    wanted = true;
    if (!timer) timer = setTimeout(update, Math.max(0, fetched + LEAST_MS - Date.now()));
  };
  const connect = () => {
    if (stream || paused || document.hidden || !main.querySelector("[data-part]")) return;
    stream = new EventSource(body.dataset.live);
    stream.addEventListener("changed", (event) => { signal = event.data; soon(); });
    stream.addEventListener("open", soon); // nobody signalled what changed since the page was made
    stream.addEventListener("error", () => { if (stream && stream.readyState === EventSource.CLOSED) disconnect(); });
  };
  const disconnect = () => { if (stream) stream.close(); stream = null; };
  const toggle = () => {
    paused = !paused;
    sessionStorage.setItem("paused", paused ? "yes" : "no");
    tell();
    if (paused) disconnect(); else { connect(); soon(); }
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) disconnect(); else if (!paused) { connect(); soon(); }
  });
  addEventListener("pointerdown", () => { pressed = true; });
  for (const end of ["pointerup", "pointercancel"]) {
    addEventListener(end, () => { pressed = false; setTimeout(() => { if (wanted) soon(); }, 0); });
  }
  document.addEventListener("focusout", () => setTimeout(() => { if (wanted) soon(); }, 0));
  document.addEventListener("selectionchange", () => { if (wanted && !isSelecting()) soon(); });
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", (event) => { if (event.persisted) { connect(); soon(); } });
  setInterval(() => {
    if (!document.hidden) ages();
    if (!paused && !document.hidden && Date.now() - fetched > ALWAYS_MS) { connect(); soon(); }
  }, 1000);

  // Pick-lists that are too long to be sent whole
  const looking = new WeakMap();
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (!field.dataset.lookUp) return;
    clearTimeout(looking.get(field));
    looking.set(field, setTimeout(async () => {
      const text = field.value.trim();
      if (text.length < 2 || [...field.list.options].some((each) => each.value === text)) return;
      const answer = await fetch(`${field.dataset.lookUp}&text=${encodeURIComponent(text)}`);
      if (!answer.ok || field.value.trim() !== text) return;
      const options = new DOMParser().parseFromString(await answer.text(), "text/html").querySelectorAll("option");
      field.list.replaceChildren(...options);
    }, LOOK_UP_MS));
  });

  // Copying
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    navigator.clipboard?.writeText(source.value ?? source.textContent).then(() => put(button, "Copied"));
  });

  // Keys
  const places = { o: "/", i: "/incidents", e: "/events", d: "/deliveries", a: "/actions", r: "/replays" };
  let leading = 0;
  const step = (by) => {
    const entries = [...main.querySelectorAll("[data-entry]")]
      .map((each) => each.querySelector("[data-first]") || each.querySelector("a")).filter(Boolean);
    if (!entries.length) return;
    const entry = document.activeElement.closest("[data-entry]");
    const at = entries.findIndex((each) => each.closest("[data-entry]") === entry);
    entries[Math.min(Math.max(at + by, 0), entries.length - 1)].focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping() || document.querySelector("dialog[open]")) return;
    const key = event.key;
    if (Date.now() - leading < 1500 && places[key]) { location.href = root + places[key]; return; }
    leading = 0;
    if (key === "g") leading = Date.now();
    else if (key === "j") step(1);
    else if (key === "k") step(-1);
    else if (key === "p") toggle();
    else if (key === "1") main.querySelector(".buttons button, .buttons .button")?.focus();
    else if (key === "?") document.getElementById("keys").showModal();
    else if (key === "/") { const first = main.querySelector("form.filters input, form.filters select"); if (first) { event.preventDefault(); first.focus(); } }
  });

  if (lightSwitch) lightSwitch.addEventListener("click", toggle);
  for (const each of document.querySelectorAll(".script-only")) each.hidden = false;
  for (const part of main.querySelectorAll("[data-part]")) part.dataset.seen = part.outerHTML;
  times();
  tell();
  connect();
})();
