{
    "name": "Shelfcast notify",
    "summary": "Tells Shelfcast when a product's template has changed",
    "version": "16.0.1.0.0",
    "license": "LGPL-3",
    "depends": ["product"],
}
