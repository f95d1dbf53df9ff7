package main

import (
	"fmt"
	"io/fs"
	"strings"
	"testing/fstest"
)

// drawings are pictures of the products, on a square of 200, in three
// colours: {a} the body, {b} its accent, {c} its lines.
var drawings = map[string]string{
	"lamp": `<path d="M70 96 84 48h32l14 48z" fill="{a}"/><path d="M100 96v52" stroke="{c}" stroke-width="6"/>` +
		`<ellipse cx="100" cy="152" rx="30" ry="7" fill="{c}"/><ellipse cx="100" cy="97" rx="30" ry="6" fill="{b}"/>`,
	"mug": `<path d="M62 70h66v64a16 16 0 0 1-16 16H78a16 16 0 0 1-16-16z" fill="{a}"/>` +
		`<path d="M128 84h8a18 18 0 0 1 0 36h-8" fill="none" stroke="{a}" stroke-width="9"/>` +
		`<ellipse cx="95" cy="70" rx="33" ry="8" fill="{b}"/><path d="M62 106h66" stroke="{c}" stroke-width="5"/>`,
	"chair": `<path d="M72 46h56a6 6 0 0 1 6 6v46H66V52a6 6 0 0 1 6-6z" fill="{a}"/>` +
		`<rect x="60" y="98" width="80" height="16" rx="6" fill="{b}"/>` +
		`<path d="M68 114 60 160M132 114l8 46M84 114v38M116 114v38" stroke="{c}" stroke-width="6" stroke-linecap="round"/>`,
	"plant": `<path d="M100 104C60 92 60 58 76 44c18 12 24 34 24 60zM100 104c40-12 40-46 24-60-18 12-24 34-24 60z` +
		`M100 108V56" fill="{a}" stroke="{b}" stroke-width="3"/><path d="M68 108h64l-8 48H76z" fill="{c}"/>`,
	"bag": `<path d="M58 80h84l8 74H50z" fill="{a}"/>` +
		`<path d="M80 92V68a20 20 0 0 1 40 0v24" fill="none" stroke="{c}" stroke-width="6"/>` +
		`<path d="M54 118h92" stroke="{b}" stroke-width="8"/>`,
	"clock": `<circle cx="100" cy="100" r="54" fill="{a}"/><circle cx="100" cy="100" r="43" fill="{b}"/>` +
		`<path d="M100 70v30l20 13" fill="none" stroke="{c}" ` +
		`stroke-width="6" stroke-linecap="round" stroke-linejoin="round"/>`,
	"blanket": `<path d="M52 66h96v74q-12 10-24 0t-24 0-24 0-24 0z" fill="{a}"/>` +
		`<path d="M52 84h96M52 104h96M52 124h96" stroke="{b}" stroke-width="6"/>` +
		`<path d="M76 66v74M124 66v74" stroke="{c}" stroke-width="3"/>`,
	"tent": `<path d="M100 52 40 150h120z" fill="{a}"/><path d="M100 52v98h26z" fill="{b}"/>` +
		`<path d="M100 52 76 150" stroke="{c}" stroke-width="4"/>` +
		`<path d="M32 150h136" stroke="{c}" stroke-width="5" stroke-linecap="round"/>`,
	"candle": `<rect x="74" y="88" width="52" height="66" rx="8" fill="{a}"/>` +
		`<path d="M100 88V74" stroke="{c}" stroke-width="4"/>` +
		`<path d="M100 46c12 14 12 26 0 30-12-4-12-16 0-30z" fill="{b}"/>` +
		`<path d="M74 112h52" stroke="{c}" stroke-width="3"/>`,
	"notebook": `<rect x="62" y="46" width="80" height="108" rx="6" fill="{a}"/>` +
		`<path d="M78 46v108" stroke="{b}" stroke-width="6"/><rect x="92" y="66" width="36" height="18" rx="3" fill="{c}"/>`,
	"vase": `<path d="M84 50h32l-4 26c26 14 28 62 4 78H84c-24-16-22-64 4-78z" fill="{a}"/>` +
		`<path d="M71 104q29 18 58 0" fill="none" stroke="{b}" stroke-width="7"/>` +
		`<ellipse cx="100" cy="50" rx="16" ry="4" fill="{c}"/>`,
	"kettle": `<path d="M60 150c-6-40 10-66 40-66s46 26 40 66z" fill="{a}"/>` +
		`<path d="M138 112l22-18" stroke="{a}" stroke-width="12" stroke-linecap="round"/>` +
		`<path d="M70 88a32 32 0 0 1 60 0" fill="none" stroke="{c}" stroke-width="6"/>` +
		`<circle cx="100" cy="80" r="6" fill="{b}"/><path d="M60 132h80" stroke="{b}" stroke-width="5"/>`,
	"stool": `<ellipse cx="100" cy="82" rx="46" ry="13" fill="{a}"/>` +
		`<ellipse cx="100" cy="78" rx="46" ry="11" fill="{b}"/>` +
		`<path d="M70 90 58 156M130 90l12 66M100 94v58" stroke="{c}" stroke-width="7" stroke-linecap="round"/>`,
	"pillow": `<path d="M54 66q46-14 92 0 12 36 0 70-46 14-92 0-12-34 0-70z" fill="{a}"/>` +
		`<circle cx="100" cy="101" r="20" fill="{b}"/><circle cx="100" cy="101" r="9" fill="{c}"/>`,
	"bottle": `<path d="M88 44h24v24c14 8 18 18 18 34v46a10 10 0 0 1-10 10H80a10 10 0 0 1-10-10v-46c0-16 4-26 18-34z" ` +
		`fill="{a}"/><rect x="86" y="38" width="28" height="12" rx="3" fill="{c}"/>` +
		`<rect x="70" y="106" width="60" height="26" fill="{b}"/>`,
	"board": `<rect x="56" y="72" width="88" height="84" rx="12" fill="{a}"/><path d="M92 72V50h16v22" fill="{a}"/>` +
		`<circle cx="100" cy="58" r="4" fill="{c}"/><path d="M70 96h60M70 114h60M70 132h44" stroke="{b}" stroke-width="4"/>`,
}

// palettes colour a drawing: ground, body, accent, lines.
var palettes = [][4]string{
	{"#f4e7d3", "#c8553d", "#f2b84b", "#3a3a44"},
	{"#dfe9e2", "#2f6f5e", "#a8cfa0", "#24352f"},
	{"#e3e8f1", "#3e5c94", "#f0d9b5", "#232c44"},
	{"#f3e1e1", "#a64b62", "#f2c6b4", "#402530"},
	{"#efece4", "#8a6d4f", "#dcc7a1", "#3b2f26"},
	{"#e2eef0", "#2c7a86", "#f6c89f", "#1f3a40"},
}

// pictures returns files below pictures/, one for each product.
func pictures() fs.FS {
	files := fstest.MapFS{}
	for n, p := range catalogue {
		colours := palettes[n%len(palettes)]
		drawing := strings.NewReplacer("{a}", colours[1], "{b}", colours[2], "{c}", colours[3]).Replace(drawings[p.drawing])
		files["pictures/"+p.sku+".svg"] = &fstest.MapFile{Data: fmt.Appendf(nil,
			`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200"><rect width="200" height="200" fill="%s"/>%s</svg>`,
			colours[0], drawing)}
	}
	return files
}
