-- The answers to calls that had an Idempotency-Key. A row is written in the
-- transaction of the edit itself.

-- +goose Up
CREATE TABLE answers (
    caller   VARBINARY(1100) NOT NULL,
    call_key VARBINARY(1020) NOT NULL,
    body_sum CHAR(64)        NOT NULL,
    answer   LONGTEXT        NOT NULL,
    made_at  DATETIME(6)     NOT NULL,
    PRIMARY KEY (caller, call_key),
    KEY answers_made_at (made_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
