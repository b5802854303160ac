// Makes the page smoother; without it every form and link works the same, with a load in between.
"use strict";
(() => {
  const said = document.getElementById("said");
  const parse = (text) => new DOMParser().parseFromString(text, "text/html");
  let turn = 0;

  async function go(address, options, keep) {
    const mine = ++turn;
    document.body.setAttribute("aria-busy", "true");
    try {
      const got = await fetch(address, { credentials: "same-origin", ...options });
      const page = parse(await got.text());
      if (mine !== turn) return;
      const main = page.querySelector("main");
      if (!main || page.querySelector(".signin")) {
        location.assign("/");
        return;
      }
      show(page, main, got.url, keep);
    } catch {
      if (mine === turn) say("The service cannot be reached; nothing has changed.");
    } finally {
      if (mine === turn) document.body.removeAttribute("aria-busy");
    }
  }

  function show(page, main, address, keep) {
    document.title = page.title;
    document.querySelector("main").replaceWith(document.adoptNode(main));
    const who = page.querySelector(".who");
    if (who && document.querySelector(".who")) {
      document.querySelector(".who").replaceWith(document.adoptNode(who));
    }
    if (address) history.pushState(null, "", address);
    const wide = matchMedia("(min-width: 64rem)").matches;
    const place = keep && wide && main.querySelectorAll(".card")[keep.slot];
    const next = place && place.querySelector(`[data-act=${keep.act}]`);
    (next || main.querySelector("#changed") || main).focus({ preventScroll: Boolean(next) });
    say(main.dataset.said || "");
  }

  function say(text) {
    said.textContent = "";
    requestAnimationFrame(() => { said.textContent = text; });
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("form[data-smooth]")) return;
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(form));
    if (form.method === "get") {
      go(`${form.action}?${fields}`);
      return;
    }
    const card = form.closest(".card");
    const slot = card ? [...card.parentElement.children].indexOf(card) : 0;
    const act = form.querySelector("[data-act]");
    go(form.action, { method: "POST", body: fields }, { slot, act: act ? act.dataset.act : "" });
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-smooth]");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(link.href);
  });

  // w, l and s press the buttons of the card that has the focus
  document.addEventListener("keydown", (event) => {
    const card = event.target.closest(".card");
    if (!card || event.metaKey || event.ctrlKey || event.altKey) return;
    const act = { w: "watch", l: "like", s: "skip" }[event.key];
    const button = act && card.querySelector(`[data-act=${act}]`);
    if (button) button.click();
  });

  let waiting = 0;
  document.addEventListener("input", (event) => {
    if (event.target.id !== "user") return;
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const got = await fetch(`/page/users?q=${encodeURIComponent(event.target.value)}`);
      if (!got.ok) return;
      const options = (await got.json()).users.map((name) => {
        const option = document.createElement("option");
        option.value = name;
        return option;
      });
      document.getElementById("users").replaceChildren(...options);
    }, 150);
  });

  addEventListener("popstate", () => location.reload());
})();
