-- The guards that the domain keeps, kept again by the database: no code path, no hand-typed SQL gets round them.

CREATE TABLE label_moves (source text NOT NULL, target text NOT NULL, PRIMARY KEY (source, target));
INSERT INTO label_moves VALUES
    ('ready', 'annotating'), ('annotating', 'checking'), ('checking', 'passed'), ('checking', 'revising'),
    ('revising', 'checking'), ('passed', 'revising'), ('passed', 'checking'), ('passed', 'accepted'),
    ('ready', 'withdrawn'), ('annotating', 'withdrawn'), ('checking', 'withdrawn'), ('revising', 'withdrawn'),
    ('passed', 'withdrawn'), ('accepted', 'withdrawn');

CREATE TABLE batch_moves (source text NOT NULL, target text NOT NULL, PRIMARY KEY (source, target));
INSERT INTO batch_moves VALUES
    ('open', 'annotating'), ('annotating', 'auditing'), ('auditing', 'deciding'),
    ('deciding', 'accepted'), ('deciding', 'rejected'), ('rejected', 'auditing');

CREATE FUNCTION refuse(message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', message USING ERRCODE = 'check_violation';
END $$;

CREATE FUNCTION has_role(person bigint, wanted text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM people WHERE id = person AND wanted = ANY (roles) AND active)
$$;

-- Everyone who drew any mask of the label, or is to draw the next one.
CREATE FUNCTION is_annotator_of(person bigint, label bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM labels WHERE id = label AND annotator_id = person)
        OR EXISTS (SELECT FROM revisions WHERE label_id = label AND person_id = person)
$$;

CREATE FUNCTION is_checker_of(person bigint, label bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM checks WHERE label_id = label AND checker_id = person)
        OR EXISTS (SELECT FROM labels l JOIN batch_checkers b USING (batch_id) WHERE l.id = label AND b.person_id = person)
$$;

CREATE FUNCTION is_auditor_of(person bigint, label bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM audits WHERE label_id = label AND senior_id = person)
$$;

CREATE FUNCTION guard_label() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    passes integer;
    verdicts integer;
    resubmitted boolean;
    decided boolean;
BEGIN
    IF NEW.annotator_id IS DISTINCT FROM OLD.annotator_id AND NEW.annotator_id IS NOT NULL THEN
        IF NOT has_role(NEW.annotator_id, 'annotator') THEN PERFORM refuse('the annotator is not in Group A'); END IF;
        IF is_auditor_of(NEW.annotator_id, NEW.id) OR is_checker_of(NEW.annotator_id, NEW.id) OR EXISTS (
            SELECT FROM batch_checkers WHERE batch_id = NEW.batch_id AND person_id = NEW.annotator_id)
        THEN PERFORM refuse('annotator, checker and auditor of a label are different people'); END IF;
        IF OLD.stage NOT IN ('ready', 'annotating', 'revising') THEN
            PERFORM refuse('a label is reassigned only while somebody draws it'); END IF;
    END IF;
    IF NEW.stage = OLD.stage THEN
        IF NEW.round <> OLD.round OR NEW.revision_id IS DISTINCT FROM OLD.revision_id THEN
            PERFORM refuse('a new revision or round needs a move of the label'); END IF;
        RETURN NEW;
    END IF;
    IF NOT EXISTS (SELECT FROM label_moves WHERE source = OLD.stage AND target = NEW.stage) THEN
        PERFORM refuse(format('a label cannot go from %s to %s', OLD.stage, NEW.stage));
    END IF;
    SELECT count(*), count(*) FILTER (WHERE verdict = 'pass') INTO verdicts, passes
        FROM checks WHERE label_id = OLD.id AND round = OLD.round AND revision_id = OLD.revision_id;
    SELECT EXISTS (SELECT FROM decisions d JOIN batches b ON b.id = d.batch_id AND b.attempt = d.attempt + (d.verdict = 'reject')::int
        WHERE b.id = OLD.batch_id AND d.verdict = CASE NEW.stage WHEN 'accepted' THEN 'accept' ELSE 'reject' END) INTO decided;
    SELECT EXISTS (SELECT FROM revisions WHERE id = NEW.revision_id AND label_id = NEW.id AND person_id = NEW.annotator_id
        AND NEW.revision_id IS DISTINCT FROM OLD.revision_id) AND NEW.round = OLD.round + 1 INTO resubmitted;
    IF NEW.stage = 'checking' AND OLD.stage IN ('annotating', 'revising') AND NOT resubmitted THEN
        PERFORM refuse('a label is submitted with a new revision by its assignee');
    ELSIF NEW.stage = 'passed' AND NOT (passes = 2 AND verdicts = 2) THEN
        PERFORM refuse('a label passes when both checkers passed this revision');
    ELSIF NEW.stage = 'revising' AND OLD.stage = 'checking' AND NOT (verdicts = 2 AND passes < 2) THEN
        PERFORM refuse('a label fails when both verdicts are in and at least one failed');
    ELSIF NEW.stage = 'revising' AND OLD.stage = 'passed' AND NOT EXISTS (
        SELECT FROM audits WHERE label_id = OLD.id AND revision_id = OLD.revision_id AND verdict = 'fail') THEN
        PERFORM refuse('a passed label is revised only when a senior failed it');
    ELSIF NEW.stage = 'accepted' AND NOT decided THEN
        PERFORM refuse('a label is accepted with its batch');
    ELSIF NEW.stage = 'checking' AND OLD.stage = 'passed' AND NOT (decided AND NEW.round = OLD.round + 1) THEN
        PERFORM refuse('a passed label is checked again only when its batch was rejected');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON labels FOR EACH ROW EXECUTE FUNCTION guard_label();

CREATE FUNCTION guard_new_label() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.stage <> 'ready' OR NEW.round <> 0 OR NEW.revision_id IS NOT NULL THEN
        PERFORM refuse('a label starts as ready');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_new BEFORE INSERT ON labels FOR EACH ROW EXECUTE FUNCTION guard_new_label();

CREATE FUNCTION guard_checker() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT has_role(NEW.person_id, 'checker') THEN PERFORM refuse('the checker is not in Group B'); END IF;
    IF EXISTS (SELECT FROM labels WHERE batch_id = NEW.batch_id
               AND (is_annotator_of(NEW.person_id, id) OR is_auditor_of(NEW.person_id, id))) THEN
        PERFORM refuse('annotator, checker and auditor of a label are different people');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON batch_checkers FOR EACH ROW EXECUTE FUNCTION guard_checker();

CREATE FUNCTION guard_check() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT has_role(NEW.checker_id, 'checker') OR NOT EXISTS (
        SELECT FROM labels l JOIN batch_checkers b USING (batch_id) WHERE l.id = NEW.label_id AND b.person_id = NEW.checker_id)
    THEN PERFORM refuse('only the two checkers of the batch check its labels'); END IF;
    IF is_annotator_of(NEW.checker_id, NEW.label_id) OR is_auditor_of(NEW.checker_id, NEW.label_id) THEN
        PERFORM refuse('annotator, checker and auditor of a label are different people'); END IF;
    IF NOT EXISTS (SELECT FROM labels WHERE id = NEW.label_id AND stage = 'checking'
                   AND revision_id = NEW.revision_id AND round = NEW.round) THEN
        PERFORM refuse('a check is of the revision that stands, while the label is being checked'); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT ON checks FOR EACH ROW EXECUTE FUNCTION guard_check();

CREATE FUNCTION guard_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT has_role(NEW.senior_id, 'senior') THEN PERFORM refuse('the auditor is not a senior'); END IF;
    IF is_annotator_of(NEW.senior_id, NEW.label_id) OR is_checker_of(NEW.senior_id, NEW.label_id) THEN
        PERFORM refuse('annotator, checker and auditor of a label are different people'); END IF;
    IF NOT EXISTS (SELECT FROM labels l JOIN batches b ON b.id = l.batch_id WHERE l.id = NEW.label_id AND l.stage = 'passed'
                   AND l.revision_id = NEW.revision_id AND b.state = 'auditing' AND b.attempt = NEW.attempt) THEN
        PERFORM refuse('an audit is of a drawn label that passed, while its batch is audited'); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT ON audits FOR EACH ROW EXECUTE FUNCTION guard_audit();

CREATE FUNCTION guard_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT has_role(NEW.reviewer_id, 'qa') THEN PERFORM refuse('the decision is a QA reviewer''s'); END IF;
    IF NOT EXISTS (SELECT FROM batches WHERE id = NEW.batch_id AND state = 'deciding' AND attempt = NEW.attempt) THEN
        PERFORM refuse('a batch is decided when every drawn label is audited'); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT ON decisions FOR EACH ROW EXECUTE FUNCTION guard_decision();

CREATE FUNCTION guard_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state AND NOT EXISTS (SELECT FROM batch_moves WHERE source = OLD.state AND target = NEW.state) THEN
        PERFORM refuse(format('a batch cannot go from %s to %s', OLD.state, NEW.state));
    END IF;
    IF NEW.state = 'auditing' AND OLD.state <> 'auditing' AND NOT EXISTS (
        SELECT FROM draws WHERE batch_id = NEW.id AND attempt = NEW.attempt AND drawn_at IS NOT NULL) THEN
        PERFORM refuse('a batch is audited after its sample was drawn');
    ELSIF NEW.state IN ('accepted', 'rejected') AND NEW.state <> OLD.state AND NOT EXISTS (
        SELECT FROM decisions WHERE batch_id = NEW.id AND attempt = OLD.attempt
        AND verdict = CASE NEW.state WHEN 'accepted' THEN 'accept' ELSE 'reject' END) THEN
        PERFORM refuse('a batch is accepted or rejected by a QA reviewer');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON batches FOR EACH ROW EXECUTE FUNCTION guard_batch();

CREATE FUNCTION guard_draw() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.drawn_at IS NOT NULL OR (NEW.batch_id, NEW.attempt, NEW.share, NEW.seed, NEW.commitment)
        IS DISTINCT FROM (OLD.batch_id, OLD.attempt, OLD.share, OLD.seed, OLD.commitment) THEN
        PERFORM refuse('a sample is drawn once, from the seed that was written down');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON draws FOR EACH ROW EXECUTE FUNCTION guard_draw();

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['revisions', 'checks', 'audits', 'decisions', 'drawn_labels', 'datasets',
                                'dataset_members', 'models', 'promotions', 'splits'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I
                        FOR EACH ROW EXECUTE FUNCTION refuse_change()', name);
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    END LOOP;
    EXECUTE 'CREATE TRIGGER no_delete BEFORE DELETE ON draws FOR EACH ROW EXECUTE FUNCTION refuse_change()';
END $$;
