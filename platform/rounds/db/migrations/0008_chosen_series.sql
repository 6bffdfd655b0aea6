-- Of the cases of one study one is chosen to be read: at most one, and it is written down why and by whom.

ALTER TABLE cases
    ADD COLUMN study text,                                -- de-identified study UID; NULL where it was not noted
    ADD COLUMN sharpness text NOT NULL DEFAULT 'unknown'  -- of the reconstruction kernel
        CHECK (sharpness IN ('soft', 'unknown', 'sharp')),
    ADD COLUMN chosen boolean NOT NULL DEFAULT true,      -- a case without a study is its own
    ADD COLUMN choice text NOT NULL DEFAULT '',           -- why it is chosen
    ADD COLUMN chosen_by text,                            -- an actor of the trail
    ADD CONSTRAINT chosen_or_of_a_study CHECK (chosen OR study IS NOT NULL),
    ADD CONSTRAINT choice_of_a_study_has_a_reason CHECK (
        NOT chosen OR study IS NULL OR (choice <> '' AND chosen_by IS NOT NULL));
CREATE UNIQUE INDEX one_chosen_case_a_study ON cases (patient_id, study) WHERE chosen;
CREATE INDEX cases_by_study ON cases (patient_id, study);
