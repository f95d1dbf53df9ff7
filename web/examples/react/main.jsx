// Live products in React: <live-product> fills itself, and watch calls a component
// back with each version. Updates leave React's state alone.

import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "shelfcast";

const root = document.querySelector("#root");
const query = new URLSearchParams(location.search);
const setting = (name) => query.get(name) ?? root.dataset[name];

const live = connect({ endpoint: setting("endpoint"), mode: query.get("mode") ?? undefined, highlight: true });

/** Returns the newest fragment of a product, or undefined until it has arrived. */
export function useLive(id, view) {
  const [fragment, setFragment] = useState();
  useEffect(() => live.watch({ id, view }, setFragment), [id, view]);
  return fragment;
}

function Product({ id }) {
  const [quantity, setQuantity] = useState(1);
  const fragment = useLive(id, "card");
  return (
    <section data-testid={`product-${id}`}>
      {/* No children here: Shelfcast fills the element. */}
      <live-product product={id} view="card" />
      <p>Version <output>{fragment?.version ?? "none"}</output></p>
      <button type="button" onClick={() => setQuantity(quantity + 1)}>{quantity} in the cart</button>
    </section>
  );
}

createRoot(root).render(setting("products").split(",").map((id) => <Product key={id} id={Number(id)} />));
