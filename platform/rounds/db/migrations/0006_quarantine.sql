-- Quarantine that people decide about: what is known of a scan without its files, who released or discarded it and why,
-- and what came of that. A case remembers over which refusals it was released, and which case it stands in for.

ALTER TABLE cases
    ADD COLUMN released_over text[] NOT NULL DEFAULT '{}',  -- reason codes that a person set aside
    ADD COLUMN replaces bigint[] NOT NULL DEFAULT '{}',     -- cases of the same series when it had fewer slices
    ADD COLUMN delivered integer;                           -- slices of the series when it was taken in
UPDATE cases SET delivered = source_slices;

ALTER TABLE quarantine
    ADD COLUMN series text,                        -- keyed digest of the series; series_key adds the reason
    ADD COLUMN facts jsonb NOT NULL DEFAULT '{}',  -- geometry in numbers, nothing of the patient
    ADD COLUMN decided_by text,
    ADD COLUMN decided_at timestamptz,
    ADD COLUMN decision text NOT NULL DEFAULT '',  -- why released or discarded, in the person's words
    ADD COLUMN settled boolean NOT NULL DEFAULT false,  -- whether the decision has been carried out
    ADD COLUMN case_id bigint REFERENCES cases;    -- what the scan became
UPDATE quarantine SET series = split_part(series_key, ':', 1);
ALTER TABLE quarantine
    ALTER COLUMN series SET NOT NULL,
    ADD CONSTRAINT decided_by_somebody CHECK (
        state = 'held' OR (decided_by IS NOT NULL AND decided_at IS NOT NULL AND decision <> '')),
    ADD CONSTRAINT held_is_not_settled CHECK (state <> 'held' OR NOT settled);
CREATE INDEX quarantine_by_series ON quarantine (series, reason);
CREATE INDEX quarantine_by_state ON quarantine (state, id);

CREATE FUNCTION guard_quarantine() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.series_key, NEW.series, NEW.site, NEW.reason) IS DISTINCT FROM (OLD.series_key, OLD.series, OLD.site, OLD.reason)
    THEN PERFORM refuse('a quarantined scan keeps its series, site and reason'); END IF;
    IF OLD.settled AND NEW IS DISTINCT FROM OLD THEN PERFORM refuse('what was carried out is final'); END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN
        (('held', 'released'), ('held', 'discarded'), ('released', 'held'))
    THEN PERFORM refuse(format('a scan does not go from %s to %s', OLD.state, NEW.state)); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON quarantine FOR EACH ROW EXECUTE FUNCTION guard_quarantine();
CREATE TRIGGER no_delete BEFORE DELETE ON quarantine FOR EACH ROW EXECUTE FUNCTION refuse_change();
