-- The trail: append-only and hash-chained; every change of state writes one row in its own transaction.

CREATE TABLE trail (
    id          bigint PRIMARY KEY,
    at          timestamptz NOT NULL,
    actor       text NOT NULL,
    action      text NOT NULL,
    subject     text NOT NULL,
    subject_id  text NOT NULL,
    reason      text NOT NULL DEFAULT '',
    detail      jsonb NOT NULL DEFAULT '{}',
    previous    text NOT NULL,
    hash        text NOT NULL
);
CREATE INDEX trail_by_subject ON trail (subject, subject_id, id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE FUNCTION chain_trail() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last trail%ROWTYPE;
BEGIN
    PERFORM pg_advisory_xact_lock(4726002);  -- one writer at a time: ids have no gaps, hashes no forks
    SELECT * INTO last FROM trail ORDER BY id DESC LIMIT 1;
    NEW.id := coalesce(last.id, 0) + 1;
    NEW.at := clock_timestamp();
    NEW.previous := coalesce(last.hash, repeat('0', 64));
    NEW.hash := encode(sha256(convert_to(concat_ws(E'\x1f',
        NEW.id, to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), NEW.actor, NEW.action,
        NEW.subject, NEW.subject_id, NEW.reason, NEW.detail::text, NEW.previous), 'UTF8')), 'hex');
    RETURN NEW;
END $$;

CREATE TRIGGER chain BEFORE INSERT ON trail FOR EACH ROW EXECUTE FUNCTION chain_trail();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON trail FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON trail FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
