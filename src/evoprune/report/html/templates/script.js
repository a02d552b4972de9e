"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const REACH = 22; // CSS pixels around a mark

  const make = (tag, name, text) => {
    const one = document.createElement(tag);
    if (name) one.className = name;
    if (text !== undefined) one.textContent = text;
    return one;
  };

  const hide = () => { tip.hidden = true; };
  const show = (text, x, y) => {
    tip.replaceChildren(...text.split("\n").map((line) => make("div", "", line)));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(x + 14, innerWidth - box.width - 8));
    const top = y - box.height - 12 < 8 ? y + 16 : y - box.height - 12;
    tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  };
  const middle = (one) => {
    const box = one.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };

  // Marks are small: what is nearest to the pointer is meant.
  const nearest = (plot, event, marks) => {
    const matrix = plot.getScreenCTM();
    let found = null, least = REACH;
    for (const one of marks) {
      const x = one.getAttribute("x") * matrix.a + matrix.e, y = one.getAttribute("y") * matrix.d + matrix.f;
      const away = Math.hypot(x - event.clientX, y - event.clientY) - (one.dataset.point ? 4 : 0);
      if (away <= least) { found = one; least = away; }
    }
    return found;
  };

  for (const plot of document.querySelectorAll("svg.plot")) {
    const marks = [...plot.querySelectorAll("[data-tip]")], points = marks.filter((one) => one.dataset.point);
    const over = (event) => {
      const one = nearest(plot, event, marks);
      plot.style.cursor = one && one.dataset.point ? "pointer" : "";
      if (one) show(one.dataset.tip, ...middle(one)); else hide();
    };
    plot.addEventListener("pointermove", over);
    plot.addEventListener("pointerdown", over);
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("click", (event) => {
      const one = nearest(plot, event, points);
      if (one) choose(one.dataset.point);
    });
    for (const one of points) {
      one.addEventListener("focus", () => { if (one.matches(":focus-visible")) show(one.dataset.tip, ...middle(one)); });
      one.addEventListener("blur", hide);
      one.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(one.dataset.point); }
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const next = step && points[points.indexOf(one) + step];
        if (next) { event.preventDefault(); next.focus(); }
      });
    }
  }
  for (const one of document.querySelectorAll("li[data-tip]")) {
    for (const kind of ["pointermove", "pointerdown"]) one.addEventListener(kind, (event) => show(one.dataset.tip, event.clientX, event.clientY));
    one.addEventListener("pointerleave", hide);
  }
  addEventListener("scroll", hide, { passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  const copyable = (button) => {
    button.addEventListener("click", async () => {
      const code = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      } catch {
        getSelection().selectAllChildren(code); // no clipboard here: it is selected, to be copied by hand
      }
    });
    return button;
  };
  document.querySelectorAll("[data-copy]").forEach(copyable);

  const card = document.getElementById("card"), front = data.front;

  const rowsOf = (point) => {
    const table = make("table"), head = make("tr"), body = make("tbody"), top = make("thead");
    const measured = point.rows.some((row) => row[2]);
    const headings = ["", "in the search", ...(measured ? ["finished, measured"] : [])];
    headings.forEach((text, at) => {
      const one = make("th", "", text);
      one.scope = "col";
      if (!at) one.append(make("span", "unseen", "measure"));
      head.append(one);
    });
    for (const [name, searched, finished] of point.rows) {
      const row = make("tr"), label = make("th", "", name);
      label.scope = "row";
      row.append(label, make("td", "", searched || "–"), ...(measured ? [make("td", finished ? "ours" : "ours none", finished || "–")] : []));
      body.append(row);
    }
    top.append(head);
    table.append(top, body);
    return table;
  };

  const widthsOf = (point) => {
    const list = make("ol", "bars"), longest = Math.max(...front.groups.map((one) => one.size));
    list.setAttribute("aria-label", "Widths by group");
    point.widths.forEach((width, at) => {
      const group = front.groups[at], row = make("li"), name = make("span", "name", group.name), lane = make("span", "lane");
      const track = make("span", "track"), kept = make("span", "kept");
      name.title = group.name;
      track.style.width = `${100 * group.size / longest}%`;
      kept.style.width = `${100 * width / group.size}%`;
      track.append(kept);
      lane.append(track);
      const criterion = width < group.size ? point.criteria[at] || "" : "";
      row.append(name, lane, make("span", "figure", `${width.toLocaleString("en")} of ${group.size.toLocaleString("en")}`), make("span", "share", criterion));
      list.append(row);
    });
    return list;
  };

  const commandOf = (point) => {
    const box = make("div", "command"), button = make("button", "", "Copy");
    button.type = "button";
    const code = make("code", "", point.command);
    code.tabIndex = 0;
    box.append(code, button);
    copyable(button);
    return box;
  };

  function choose(number) {
    const point = front.points[number];
    if (!point) return;
    for (const one of document.querySelectorAll("use[data-point]")) one.setAttribute("aria-pressed", String(one.dataset.point === String(number)));
    const scroll = make("div", "scroll");
    scroll.append(rowsOf(point));
    card.replaceChildren(make("h3", "", point.title));
    if (point.where) card.append(make("p", "where", point.where));
    card.append(scroll);
    if (point.widths.length) card.append(widthsOf(point));
    if (point.command) card.append(make("p", "where", card.dataset.interface === "shell" ? "Finish it, without another search:" : "Finish it, in Python:"), commandOf(point));
  }
  if (card && front) choose(front.first);

  // Where one is on the page.
  const links = new Map([...document.querySelectorAll("nav li a")].map((one) => [one.hash.slice(1), one]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const [id, link] of links) { if (id === entry.target.id) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current"); }
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  document.querySelectorAll("main section").forEach((one) => seen.observe(one));
})();
