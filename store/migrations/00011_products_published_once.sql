-- Whether a product is published, or ever was: shoppers may know of it then. Who
-- writes a row without a word of it, as the release before does, has a product
-- that was published from the start right by the default.

-- +goose Up
ALTER TABLE products ADD COLUMN published_once BOOLEAN NOT NULL DEFAULT (published) AFTER published;
