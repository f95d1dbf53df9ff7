// A page of a shop on another origin than the tier's, with infinite scroll.

const query = new URLSearchParams(location.search);
const setting = (name) => query.get(name) ?? document.body.dataset[name];
const endpoint = setting("endpoint");

// The script's tag, as it would stand in the page's head.
const script = document.createElement("script");
Object.assign(script, { type: "module", src: new URL("/assets/shelfcast.js", endpoint) });
Object.assign(script.dataset, { endpoint, highlight: "", ...(query.has("mode") && { mode: query.get("mode") }) });
document.head.append(script);

document.addEventListener("shelfcast:status", ({ detail }) => {
  document.querySelector("#status").textContent = detail;
});

// Infinite scroll: each time its end comes near, the list grows. What is added is
// found, and watched while it is on or near the screen.
const left = setting("products").split(",");
const end = document.querySelector("#more");
const scroll = new IntersectionObserver(([{ isIntersecting }]) => {
  if (!isIntersecting) return;
  for (const id of left.splice(0, 6)) {
    const product = document.createElement("live-product");
    product.setAttribute("product", id);
    product.setAttribute("view", "card");
    product.style.display = "block";
    product.style.minHeight = "12rem";
    document.querySelector("main").append(product);
  }
  scroll.unobserve(end); // and once more, if it is still in sight
  if (left.length > 0) scroll.observe(end);
  else end.remove();
}, { rootMargin: "50%" });
scroll.observe(end);
