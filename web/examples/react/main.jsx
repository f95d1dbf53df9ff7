// Live products in React: the element fills itself, and watch tells a component of
// each version. React's own state is React's, whatever comes.

import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "shelfcast";

const root = document.querySelector("#root");
const query = new URLSearchParams(location.search);
const setting = (name) => query.get(name) ?? root.dataset[name];

const live = connect({ endpoint: setting("endpoint"), mode: query.get("mode") ?? undefined, highlight: true });

/** The newest fragment of a product; undefined until it has come. */
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
      {/* React has no children here: what is in it is the tier's. */}
      <live-product product={id} view="card" />
      <p>Version <output>{fragment?.version ?? "none"}</output></p>
      <button type="button" onClick={() => setQuantity(quantity + 1)}>{quantity} in the cart</button>
    </section>
  );
}

createRoot(root).render(setting("products").split(",").map((id) => <Product key={id} id={Number(id)} />));
