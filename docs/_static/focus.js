// What scrolls sideways can be reached by a keyboard.
document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("pre").forEach((block) => (block.tabIndex = 0)));
