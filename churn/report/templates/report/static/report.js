// Escape closes the meaning of a word.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.activeElement.blur();
});

// Only what really scrolls is a stop of the Tab key.
const watched = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const scrolls = target.scrollWidth > target.clientWidth;
    if (scrolls) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }
});
document.querySelectorAll(".scroll").forEach((region) => watched.observe(region));

// Paper can't be opened by a click.
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((part) => { part.open = true; });
});
