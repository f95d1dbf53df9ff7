-- Who made what of a product, one row a version.

-- +goose Up
CREATE TABLE product_history (
    product_id BIGINT       NOT NULL,
    version    BIGINT       NOT NULL,
    made_at    DATETIME(6)  NOT NULL,
    action     VARCHAR(32)  NOT NULL,
    author     VARCHAR(190) NOT NULL,
    changes    MEDIUMTEXT   NOT NULL,
    PRIMARY KEY (product_id, version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
