-- The shop's own id, which is in the name of all that it keeps in Redis. The row
-- is put there by migrate; there is never a second one.

-- +goose Up
CREATE TABLE shop (
    one TINYINT     NOT NULL PRIMARY KEY,
    id  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
