// Live products in Vue: <live-product> fills itself, and watch calls a component back
// with each version. Updates leave Vue's state alone. (If you use a template instead of
// h, declare live-product as a custom element with compilerOptions.isCustomElement.)

import { createApp, h, ref, shallowRef, watchEffect } from "vue";
import { connect } from "shelfcast";

const root = document.querySelector("#root");
const query = new URLSearchParams(location.search);
const setting = (name) => query.get(name) ?? root.dataset[name];

const live = connect({ endpoint: setting("endpoint"), mode: query.get("mode") ?? undefined, highlight: true });

/** Returns the newest fragment of a product, or undefined until it has arrived. */
export function useLive(props) {
  const fragment = shallowRef();
  watchEffect((onCleanup) => onCleanup(live.watch({ id: props.id, view: "card" }, (f) => void (fragment.value = f))));
  return fragment;
}

const Product = {
  props: { id: Number },
  setup(props) {
    const quantity = ref(1);
    const fragment = useLive(props);
    return () => h("section", { "data-testid": `product-${props.id}` }, [
      h("live-product", { product: props.id, view: "card" }),
      h("p", ["Version ", h("output", fragment.value?.version ?? "none")]),
      h("button", { type: "button", onClick: () => quantity.value++ }, `${quantity.value} in the cart`),
    ]);
  },
};

createApp({ render: () => setting("products").split(",").map((id) => h(Product, { key: id, id: Number(id) })) }).mount(root);
