// What is wrong with the page as a person meets it: structure, names of inputs, contrast, width.
() => {
  const found = [];
  const say = (what, element) => found.push(element ? `${what}: ${element.outerHTML.slice(0, 120)}` : what);
  const all = (selector) => [...document.querySelectorAll(selector)];

  if (all("h1").length !== 1) say(`${all("h1").length} h1`);
  if (!document.title.includes("Loadstone")) say("the title does not name the site");
  if (document.documentElement.lang !== "en") say("no language");
  if (all("main").length !== 1) say("not one main");
  for (const image of all("img")) if (!image.hasAttribute("alt")) say("no alt", image);
  for (const input of all("input:not([type=hidden]), select, textarea"))
    if (!input.labels?.length && !input.getAttribute("aria-label")) say("no label", input);
  for (const element of all("a, button"))
    if (!(element.textContent.trim() || element.getAttribute("aria-label") || element.querySelector("img[alt]:not([alt=''])")))
      say("no name", element);
  const ids = all("[id]").map((element) => element.id);
  for (const id of new Set(ids)) if (ids.indexOf(id) !== ids.lastIndexOf(id)) say(`the id ${id} twice`);
  for (const element of all("[aria-describedby]"))
    if (!document.getElementById(element.getAttribute("aria-describedby"))) say("describedby leads nowhere", element);
  const levels = all("h1, h2, h3, h4, h5, h6").map((heading) => Number(heading.tagName[1]));
  levels.forEach((level, at) => { if (at && level > levels[at - 1] + 1) say(`h${level} after h${levels[at - 1]}`); });
  if (all("[style], style, script:not([src])").length) say("an inline style or script");
  if (document.documentElement.scrollWidth > innerWidth)
    say(`${document.documentElement.scrollWidth} px wide in a window of ${innerWidth}`);

  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, below) => ({
    r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a),
    b: top.b * top.a + below.b * (1 - top.a), a: 1,
  });
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 });
  };
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = ({ r, g, b }) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const contrast = (ink, paper) => {
    const [high, low] = [light(over(ink, paper)), light(paper)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const check = (element, style) => {
    const ratio = contrast(parse(style.color), ground(element));
    if (ratio < 4.5) say(`contrast ${ratio.toFixed(2)}`, element);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (seen.has(element) || !walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    seen.add(element);
    if (!element.closest(":disabled")) check(element, getComputedStyle(element));
  }
  for (const input of all("[placeholder]")) check(input, getComputedStyle(input, "::placeholder"));
  return found;
}
