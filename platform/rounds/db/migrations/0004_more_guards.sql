-- Guards that were missing: a batch begins open and is decided after every audit; labels stay in their batch; two checkers.

CREATE FUNCTION guard_new_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'open' OR NEW.attempt <> 1 THEN PERFORM refuse('a batch starts as open'); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_new BEFORE INSERT ON batches FOR EACH ROW EXECUTE FUNCTION guard_new_batch();

CREATE FUNCTION guard_batch_steps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.attempt <> OLD.attempt + (NEW.state = 'rejected' AND OLD.state = 'deciding')::int THEN
        PERFORM refuse('an attempt begins with a rejection'); END IF;
    IF NEW.state = 'deciding' AND OLD.state = 'auditing' AND EXISTS (
        SELECT FROM drawn_labels d JOIN labels l ON l.id = d.label_id
        WHERE d.batch_id = NEW.id AND d.attempt = NEW.attempt AND l.stage <> 'withdrawn' AND NOT EXISTS (
            SELECT FROM audits a WHERE a.batch_id = d.batch_id AND a.attempt = d.attempt AND a.label_id = d.label_id
            AND a.revision_id = l.revision_id AND a.verdict = 'pass')) THEN
        PERFORM refuse('a batch is decided when every drawn label is audited'); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_steps BEFORE UPDATE ON batches FOR EACH ROW EXECUTE FUNCTION guard_batch_steps();

CREATE FUNCTION guard_label_identity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.case_id, NEW.scheme) IS DISTINCT FROM (OLD.case_id, OLD.scheme)
        OR (NEW.batch_id IS DISTINCT FROM OLD.batch_id AND NOT (OLD.batch_id IS NULL AND NEW.stage = 'annotating')) THEN
        PERFORM refuse('a label keeps its case, its scheme and its batch'); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_identity BEFORE UPDATE ON labels FOR EACH ROW EXECUTE FUNCTION guard_label_identity();
CREATE TRIGGER no_delete BEFORE DELETE ON labels FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_delete BEFORE DELETE ON batches FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON batch_checkers FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION guard_two_checkers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM batches WHERE id = NEW.batch_id FOR UPDATE;
    IF (SELECT count(*) FROM batch_checkers WHERE batch_id = NEW.batch_id) >= 2 THEN
        PERFORM refuse('a batch has two checkers'); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_two BEFORE INSERT ON batch_checkers FOR EACH ROW EXECUTE FUNCTION guard_two_checkers();

CREATE FUNCTION guard_drawn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM draws WHERE batch_id = NEW.batch_id AND attempt = NEW.attempt AND drawn_at = now())
        OR NOT EXISTS (SELECT FROM labels WHERE id = NEW.label_id AND batch_id = NEW.batch_id AND stage = 'passed') THEN
        PERFORM refuse('labels are drawn in the very transaction of the draw, from those that passed'); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT ON drawn_labels FOR EACH ROW EXECUTE FUNCTION guard_drawn();
