-- Which key made a case's pseudonym, UIDs and dates: its id, never the key. Cases from before ids were kept have none.

ALTER TABLE cases ADD COLUMN key_id text CHECK (key_id ~ '^[0-9a-f]{8}$');
