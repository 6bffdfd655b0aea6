// The verdict form by keyboard: pass or fail, reasons, pins, note, and one confirmation before it is sent.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("verdict");
  const viewer = window.roundsViewer;
  if (!form || !viewer) return;
  const count = Number(document.getElementById("viewer").dataset.slices);
  const confirm = document.getElementById("confirm");
  const answer = document.getElementById("answer");
  const note = document.getElementById("note");
  const reasons = [...form.querySelectorAll("input[name=reasons]")];
  const verdicts = Object.fromEntries([...form.querySelectorAll("input[name=verdict]")].map((one) => [one.value, one]));
  const pins = viewer.state.pins;

  function choose(verdict) {
    verdicts[verdict].checked = true;
    if (verdict === "pass") for (const reason of reasons) reason.checked = false;
    answer.replaceChildren();
  }

  function pin(index) {
    if (pins.has(index)) pins.delete(index);
    else pins.add(index);
    const sorted = [...pins].sort((a, b) => b - a);
    document.getElementById("slices").value = sorted.join(",");
    document.getElementById("no-pins").hidden = sorted.length > 0;
    document.getElementById("pins").replaceChildren(...sorted.map((at) => {
      const item = document.createElement("li");
      const go = document.createElement("button");
      go.type = "button";
      go.className = "small";
      go.dataset.goto = String(at);
      go.textContent = `slice ${at + 1}`;
      item.append(go);
      return item;
    }));
    viewer.redraw();
  }

  function complain(sentence) {
    const told = document.createElement("p");
    told.className = "notice error";
    told.setAttribute("role", "alert");
    told.textContent = sentence;
    answer.replaceChildren(told);
  }

  function ask() {
    const chosen = form.querySelector("input[name=verdict]:checked");
    const given = reasons.filter((reason) => reason.checked);
    if (!chosen) { complain("Choose pass (y) or fail (f) first."); return; }
    if (chosen.value === "fail" && !given.length) { complain("Say why it fails: choose at least one reason (1 to 6)."); return; }
    if (given.some((reason) => reason.value === "other") && !note.value.trim()) {
      complain("“Other” needs a note that says what is wrong (t).");
      note.focus();
      return;
    }
    answer.replaceChildren();
    const words = given.map((reason) => reason.closest("label").textContent.trim().replace(/^\d\s*/, "").replace(/ \(.*/, ""));
    const places = [...pins].sort((a, b) => a - b).map((at) => at + 1);
    document.getElementById("confirm-text").textContent =
      (chosen.value === "pass" ? "Pass" : `Fail: ${words.join(", ")}`)
      + (places.length ? ` · ${places.length === 1 ? "slice" : "slices"} ${places.join(", ")}` : "");
    const unseen = count - viewer.state.seen.size;
    const warning = document.getElementById("confirm-unseen");
    warning.hidden = unseen === 0;
    warning.textContent = `You have not looked at ${unseen} of ${count} slices.`;
    confirm.returnValue = "";
    confirm.showModal();
    document.getElementById("confirm-send").focus();
  }

  confirm.addEventListener("close", () => {
    if (confirm.returnValue === "send") form.dispatchEvent(new CustomEvent("verdict-confirmed"));
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  for (const reason of reasons) reason.addEventListener("change", () => { if (reason.checked) verdicts.fail.checked = true; });
  verdicts.pass.addEventListener("change", () => choose("pass"));
  document.addEventListener("click", (event) => {
    if (event.target.closest('[data-do="pin"]')) pin(viewer.state.index);
  });
  document.addEventListener("slice-shown", () => {
    document.getElementById("seen-count").textContent = `looked at ${viewer.state.seen.size} of ${count} slices`;
  });
  document.body.addEventListener("htmx:sendError", () =>
    complain("Rounds does not answer. Your verdict is still here: send it again in a moment."));

  document.addEventListener("keydown", (event) => {
    if (event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target === note) {
      if (event.key === "Escape") document.getElementById("viewer").focus();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
      return;
    }
    if (event.ctrlKey || event.metaKey) return;
    const key = event.key.toLowerCase();
    const reason = reasons[Number(event.key) - 1];
    if (event.key === "Enter" && event.target.matches("a, button, summary")) return;
    if (key === "y") choose("pass");
    else if (key === "f") choose("fail");
    else if (key === "m") pin(viewer.state.index);
    else if (key === "t") note.focus();
    else if (event.key === "Enter") ask();
    else if (reason) { reason.checked = !reason.checked; if (reason.checked) choose("fail"); } else return;
    event.preventDefault();
  });
});
