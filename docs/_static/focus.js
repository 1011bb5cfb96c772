// What scrolls sideways can be reached by a keyboard.
document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("pre").forEach((block) => (block.tabIndex = 0)));
// The search field is named by the words that it shows, so that voice control finds it.
document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".search-button-field").forEach((button) => button.removeAttribute("aria-label")));
