// What the theme's markup lacks for readers who hear the page.
document.addEventListener("DOMContentLoaded", () => {
  for (const toggle of document.querySelectorAll("nav details > summary")) {
    toggle.setAttribute("aria-label", "Show or hide the pages below");
  }
  for (const entry of document.querySelectorAll(".citation-list > .citation")) {
    entry.setAttribute("role", "listitem");
  }
  // What is moved to be read can be moved from the keyboard.
  for (const box of document.querySelectorAll("figure.paper-figure, .paper-scroll, .pst-scrollable-table-container")) {
    if (box.scrollWidth > box.clientWidth) box.setAttribute("tabindex", "0");
  }
});
