// A shop's page with infinite scroll, on another origin than the Shelfcast server.

const query = new URLSearchParams(location.search);
const setting = (name) => query.get(name) ?? document.body.dataset[name];
const endpoint = setting("endpoint");

// In a real shop this tag is in the page's head.
const script = document.createElement("script");
Object.assign(script, { type: "module", src: new URL("/assets/shelfcast.js", endpoint) });
Object.assign(script.dataset, { endpoint, highlight: "", ...(query.has("mode") && { mode: query.get("mode") }) });
document.head.append(script);

document.addEventListener("shelfcast:status", ({ detail }) => {
  document.querySelector("#status").textContent = detail;
});

// Infinite scroll: the list grows when its end comes near. The client finds the new
// products, and keeps them up to date while they are on or near the screen.
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
  scroll.unobserve(end); // observe anew: it may still be in sight
  if (left.length > 0) scroll.observe(end);
  else end.remove();
}, { rootMargin: "50%" });
scroll.observe(end);
