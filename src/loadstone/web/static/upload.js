// Sends the file of a release form by tus in pieces: progress, retries, going on after a break.
// Without this script the same form sends the file itself.
"use strict";
(() => {
  const form = document.querySelector("form[data-upload]");
  if (!form || !window.fetch || !window.Blob) return;
  const PIECE = 8 * 1024 * 1024;
  const area = form.querySelector("[data-progress]");
  const bar = area.querySelector("progress");
  const text = area.querySelector("p");
  const button = form.querySelector("button");
  const headers = { "Tus-Resumable": "1.0.0", "X-CSRF-Token": form.dataset.csrf };

  const say = (words) => { text.textContent = words; };
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const encode = (name) => btoa(String.fromCharCode(...new TextEncoder().encode(name)));

  async function refuse(answer) {
    let words = `The server answered ${answer.status}.`;
    try { words = (await answer.json()).detail || words; } catch { /* not a problem document */ }
    const error = new Error(words);
    error.final = answer.status < 500 && ![408, 409, 423, 429].includes(answer.status);
    throw error;
  }

  async function start(file) {
    const answer = await fetch("/api/v1/uploads", {
      method: "POST",
      headers: { ...headers, "Upload-Length": String(file.size), "Upload-Metadata": `filename ${encode(file.name)}` },
    });
    if (answer.status !== 201) await refuse(answer);
    return answer.headers.get("Location");
  }

  async function offset(address) {
    const answer = await fetch(address, { method: "HEAD", headers });
    if (!answer.ok) await refuse(answer);
    return Number(answer.headers.get("Upload-Offset"));
  }

  async function send(address, file) {
    let at = 0, failures = 0;
    const begun = performance.now();
    while (at < file.size) {
      try {
        const answer = await fetch(address, {
          method: "PATCH",
          headers: { ...headers, "Upload-Offset": String(at), "Content-Type": "application/offset+octet-stream" },
          body: file.slice(at, at + PIECE),
        });
        if (!answer.ok) await refuse(answer);
        at = Number(answer.headers.get("Upload-Offset"));
        failures = 0;
        const rate = at / Math.max(0.1, (performance.now() - begun) / 1000);
        bar.value = (100 * at) / file.size;
        say(`${Math.floor(bar.value)} % · about ${Math.ceil((file.size - at) / rate)} s left`);
      } catch (error) {
        if (error.final || ++failures > 8) throw error;
        say(`The connection broke; going on from where it stopped (try ${failures}).`);
        await wait(Math.min(15000, 500 * 2 ** failures));
        try { at = await offset(address); } catch (again) { if (again.final) throw again; }
      }
    }
  }

  form.addEventListener("submit", async (event) => {
    const input = form.querySelector("input[type=file]");
    const file = input.files[0];
    if (!file) return;
    event.preventDefault();
    button.disabled = true;
    area.hidden = false;
    say("Starting …");
    try {
      const address = await start(file);
      await send(address, file);
      say("Uploaded. The file is checked now …");
      const field = document.createElement("input");
      field.type = "hidden"; field.name = "upload"; field.value = address.split("/").pop();
      input.disabled = true;
      form.append(field);
      form.submit();
    } catch (error) {
      say(error.message);
      button.disabled = false;
    }
  });
})();
