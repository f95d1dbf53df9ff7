package main

import (
	"context"
	"fmt"

	"shelfcast/store"
)

// A product of the demo's shop. Prices are in EUR.
type product struct {
	sku, title, vendor, drawing string
	price, compareAt            string // compareAt "": no sale
	stock                       int64
	description                 string
}

var catalogue = []product{
	{"lamp-ember", "Ember Table Lamp", "Nordlicht", "lamp", "79.00", "99.00", 12,
		"<p>A small lamp for a <em>large</em> evening. Linen shade, turned ash foot.</p>"},
	{"mug-harbour", "Harbour Mug", "Kiln & Co", "mug", "14.50", "", 64,
		"<p>Stoneware with a band of iron glaze. Dishwasher safe, and then some.</p>"},
	{"chair-loft", "Loft Dining Chair", "Werkhof", "chair", "189.00", "", 8,
		"<p>Bent beech, four of them to a table.</p><ul><li>Seat height 46 cm</li><li>Stackable</li></ul>"},
	{"plant-rubber", "Rubber Plant, medium", "Grünraum", "plant", "34.90", "", 3,
		"<p>Likes a bright corner and being left alone. Pot included.</p>"},
	{"bag-weekend", "Weekend Bag “Sylt”", "Takel", "bag", "129.00", "159.00", 9,
		"<p>Waxed canvas that gets better with every journey.</p>"},
	{"clock-noon", "Noon Wall Clock", "Nordlicht", "clock", "64.00", "", 21,
		"<p>Silent movement. It will not tell you to hurry.</p>"},
	{"blanket-fjord", "Fjord Wool Blanket", "Moor & Heide", "blanket", "149.00", "", 5,
		"<p>Pure new wool, woven in stripes of three blues.</p>"},
	{"tent-two", "Two-Person Tent “Nomad”", "Takel", "tent", "299.00", "349.00", 4,
		"<p>Up in four minutes, down in three. <strong>2.1 kg.</strong></p>"},
	{"candle-fig", "Fig & Cedar Candle", "Kerzenhaus", "candle", "24.00", "", 40,
		"<p>Forty hours of late summer, in soy wax.</p>"},
	{"notebook-grid", "Grid Notebook A5", "Papier Nord", "notebook", "11.90", "", 120,
		"<p>192 numbered pages that lie flat.</p>"},
	{"vase-dune", "Dune Vase", "Kiln & Co", "vase", "46.00", "", 0,
		"<p>Each one thrown by hand, so no two are alike.</p>"},
	{"kettle-steady", "Steady Kettle, 1.2 l", "Herd", "kettle", "89.00", "", 15,
		"<p>A spout that pours where you look.</p>"},
	{"stool-three", "Three-Leg Stool", "Werkhof", "stool", "74.00", "", 17,
		"<p>Stands on any floor. Three legs always do.</p>"},
	{"pillow-dot", "Dot Cushion", "Moor & Heide", "pillow", "39.00", "49.00", 26,
		"<p>Cotton velvet, feather filling, hidden zip.</p>"},
	{"bottle-trail", "Trail Bottle, 0.75 l", "Takel", "bottle", "27.50", "", 58,
		"<p>Steel, double-walled: cold for a day, hot for half.</p>"},
	{"board-oak", "Oak Cutting Board", "Herd", "board", "52.00", "", 11,
		"<p>End grain, oiled, with feet that do not slip.</p>"},
	{"lamp-arc", "Arc Reading Lamp", "Nordlicht", "lamp", "139.00", "", 6,
		"<p>Leans over your shoulder without a word.</p>"},
	{"mug-pair", "Mugs “His & Hers & Theirs”, set of three", "Kiln & Co", "mug", "39.00", "", 14,
		"<p>One too many, so that a guest may stay.</p>"},
	{"chair-deck", "Deck Chair", "Takel", "chair", "98.00", "", 2, "<p>Striped canvas on oiled eucalyptus.</p>"},
	{"plant-olive", "Olive Tree, 80 cm", "Grünraum", "plant", "59.00", "", 7,
		"<p>For the balcony in summer, the stairwell in winter.</p>"},
	{"bag-market", "Market Tote", "Takel", "bag", "29.00", "", 75, "<p>Carries a week of vegetables and one loaf.</p>"},
	{"clock-travel", "Travel Clock", "Nordlicht", "clock", "38.00", "", 0,
		"<p>Folds into its own case. Wakes gently, twice.</p>"},
	{"blanket-picnic", "Picnic Rug", "Moor & Heide", "blanket", "69.00", "79.00", 19,
		"<p>Wool above, waxed cotton below.</p>"},
	{"tent-beach", "Beach Shelter", "Takel", "tent", "79.00", "", 10, "<p>Shade for two, and for the sandwiches.</p>"},
	{"candle-smoke", "Birch Smoke Candle", "Kerzenhaus", "candle", "24.00", "", 33,
		"<p>Like a cabin, without the chores.</p>"},
	{"notebook-plain", "Plain Sketchbook A4", "Papier Nord", "notebook", "18.50", "", 44,
		"<p>Heavy paper that takes ink and forgives water.</p>"},
	{"vase-bud", "Bud Vase", "Kiln & Co", "vase", "19.00", "", 37, "<p>For the one flower that you found on the way.</p>"},
	{"kettle-gas", "Whistling Kettle, 2 l", "Herd", "kettle", "64.00", "", 1, "<p>Plays a fourth, and not a shriek.</p>"},
	{"stool-step", "Step Stool", "Werkhof", "stool", "58.00", "", 13, "<p>Two steps up to the good glasses.</p>"},
	{"pillow-line", "Linen Cushion", "Moor & Heide", "pillow", "44.00", "", 22,
		"<p>Stone-washed, in the colour of dry grass.</p>"},
	{"bottle-desk", "Desk Carafe", "Herd", "bottle", "33.00", "", 16, "<p>With a glass that is also its lid.</p>"},
	{"board-bread", "Bread Board", "Herd", "board", "41.00", "", 28,
		"<p>A grid below, a tray for the crumbs under it.</p>"},
	{"lamp-clip", "Clip Lamp", "Nordlicht", "lamp", "45.00", "55.00", 31,
		"<p>Holds on to shelves, headboards and good ideas.</p>"},
	{"plant-fern", "Sword Fern", "Grünraum", "plant", "16.90", "", 18, "<p>Asks for a bathroom with a window.</p>"},
	{"clock-kitchen", "Kitchen Timer Clock", "Herd", "clock", "29.00", "", 52,
		"<p>Magnetic, and louder than the extractor.</p>"},
	{"bag-cycle", "Cycle Pannier", "Takel", "bag", "84.00", "", 9, "<p>Rolls shut. The rain stays where it is.</p>"},
}

// fill creates the products of the catalogue.
func fill(ctx context.Context, db *store.DB) error {
	for _, p := range catalogue {
		price, err := store.ParsePrice(p.price)
		if err != nil {
			return fmt.Errorf("%s: %w", p.sku, err)
		}
		picture, currency, published := "/assets/pictures/"+p.sku+".svg", "EUR", true
		e := store.Edit{
			SKU: &p.sku, Title: &p.title, Vendor: &p.vendor, Description: &p.description, ImageURL: &picture,
			Price: &price, Currency: &currency, Stock: &p.stock, Published: &published,
		}
		if p.compareAt != "" {
			before, err := store.ParsePrice(p.compareAt)
			if err != nil {
				return fmt.Errorf("%s: %w", p.sku, err)
			}
			e.CompareAtPrice = store.PriceChange{Set: true, To: &before}
		}
		if _, err := db.Create(ctx, e); err != nil {
			return err
		}
	}
	return nil
}
