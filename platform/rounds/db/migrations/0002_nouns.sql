-- The nouns of the cycle. Bytes are references into the object store: '<sha256><suffix>'.

CREATE TABLE people (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email             text NOT NULL UNIQUE CHECK (email = lower(email)),
    name              text NOT NULL,
    roles             text[] NOT NULL CHECK (cardinality(roles) > 0
                      AND roles <@ ARRAY['annotator', 'checker', 'senior', 'qa', 'engineer', 'admin']),
    password_hash     text NOT NULL,
    labelstudio_user  bigint,
    active            boolean NOT NULL DEFAULT true,
    created_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tokens (
    token_sha256  text PRIMARY KEY,
    person_id     bigint NOT NULL REFERENCES people,
    expires_at    timestamptz NOT NULL
);

CREATE TABLE patients (
    id             text PRIMARY KEY,          -- keyed pseudonym
    diagnosis      text CHECK (diagnosis IN ('covid', 'other', 'healthy')),
    clinical_type  text,
    age            integer CHECK (age BETWEEN 0 AND 90),   -- 90 stands for 90 and over
    sex            text CHECK (sex IN ('F', 'M', 'O')),
    nat_date       date                       -- nucleic-acid test, shifted like every date of the patient
);

CREATE TABLE cases (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_key        text NOT NULL UNIQUE,   -- keyed digest of the original series: makes ingest idempotent
    patient_id        text NOT NULL REFERENCES patients,
    site              text NOT NULL,
    manufacturer      text NOT NULL,
    scanner           text NOT NULL,
    source_slices     integer NOT NULL,
    source_spacing    float8[] NOT NULL,      -- (z, y, x) mm, as scanned
    spacing           float8[] NOT NULL,      -- (z, y, x) mm, reading volume
    shape             integer[] NOT NULL,     -- (z, y, x), reading volume
    affine            float8[] NOT NULL,      -- 4 x 4, voxel (x, y, z) of the reading volume to RAS mm
    thickness         float8,
    lung_hu           float8,                 -- median HU of the lungs, a check that a reader can believe
    volume            text NOT NULL,
    slices            text[] NOT NULL,        -- PNGs, inferior to superior
    dicom             text NOT NULL,          -- zip of the de-identified source slices, inferior to superior
    policy_version    text NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_key  text NOT NULL UNIQUE,
    site        text NOT NULL,
    reason      text NOT NULL,
    detail      text NOT NULL,
    file_count  integer NOT NULL,
    state       text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'released', 'discarded')),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE batches (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scheme      text NOT NULL,
    state       text NOT NULL DEFAULT 'open'
                CHECK (state IN ('open', 'annotating', 'auditing', 'deciding', 'accepted', 'rejected')),
    attempt     integer NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE batch_checkers (
    batch_id   bigint NOT NULL REFERENCES batches,
    person_id  bigint NOT NULL REFERENCES people,
    PRIMARY KEY (batch_id, person_id)
);

CREATE TABLE labels (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id       bigint NOT NULL REFERENCES cases,
    scheme        text NOT NULL,
    stage         text NOT NULL DEFAULT 'ready',
    round         integer NOT NULL DEFAULT 0,   -- counts what was submitted or sent back to be checked
    batch_id      bigint REFERENCES batches,
    annotator_id  bigint REFERENCES people,
    revision_id   bigint,                       -- the revision that stands
    reason        text NOT NULL DEFAULT '',     -- why withdrawn
    UNIQUE (case_id, scheme),
    CHECK (stage IN ('ready', 'withdrawn') OR (batch_id IS NOT NULL AND annotator_id IS NOT NULL)),
    CHECK (stage <> 'withdrawn' OR reason <> '')
);
CREATE INDEX labels_by_batch ON labels (batch_id, stage);

CREATE TABLE datasets (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name             text NOT NULL UNIQUE,
    scheme           text NOT NULL,
    manifest         text NOT NULL,             -- object reference of the JSON manifest
    created_by       text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE models (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task        text NOT NULL CHECK (task IN ('segmentation', 'classification')),
    scheme      text NOT NULL,
    dataset_id  bigint NOT NULL REFERENCES datasets,
    stage       integer NOT NULL,               -- training cases
    recipe      jsonb NOT NULL,
    seed        bigint NOT NULL,
    weights     text NOT NULL,                  -- object reference of the zipped model folder
    metrics     jsonb NOT NULL,
    parent_id   bigint REFERENCES models,       -- the segmentation model that fed a classification model
    seconds     float8 NOT NULL,
    device      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE promotions (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task      text NOT NULL,
    scheme    text NOT NULL,
    model_id  bigint NOT NULL REFERENCES models,
    kind      text NOT NULL CHECK (kind IN ('promote', 'rollback')),
    at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE revisions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label_id    bigint NOT NULL REFERENCES labels,
    number      integer NOT NULL,
    mask        text NOT NULL,
    person_id   bigint REFERENCES people,
    model_id    bigint REFERENCES models,
    parent_id   bigint REFERENCES revisions,    -- the pre-label or revision that it started from
    seconds     float8,                         -- time on task, as Label Studio measured it
    effort      jsonb NOT NULL DEFAULT '{}',    -- regions kept, changed, new; voxels changed; Dice with the parent
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (label_id, number),
    CHECK ((person_id IS NULL) <> (model_id IS NULL))
);
ALTER TABLE labels ADD FOREIGN KEY (revision_id) REFERENCES revisions;

CREATE TABLE checks (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label_id     bigint NOT NULL REFERENCES labels,
    revision_id  bigint NOT NULL REFERENCES revisions,
    round        integer NOT NULL,
    checker_id   bigint NOT NULL REFERENCES people,
    verdict      text NOT NULL CHECK (verdict IN ('pass', 'fail')),
    reasons      text[] NOT NULL,
    slices       integer[] NOT NULL,
    note         text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    UNIQUE (label_id, round, checker_id),
    CHECK (verdict = 'pass' OR cardinality(reasons) > 0)
);

CREATE TABLE draws (
    batch_id    bigint NOT NULL REFERENCES batches,
    attempt     integer NOT NULL,
    share       float8 NOT NULL CHECK (share > 0 AND share <= 1),
    seed        text NOT NULL,                  -- sealed: only its commitment is shown before the draw
    commitment  text NOT NULL,
    population  integer,
    drawn_at    timestamptz,
    PRIMARY KEY (batch_id, attempt)
);

CREATE TABLE drawn_labels (
    batch_id  bigint NOT NULL,
    attempt   integer NOT NULL,
    label_id  bigint NOT NULL REFERENCES labels,
    PRIMARY KEY (batch_id, attempt, label_id),
    FOREIGN KEY (batch_id, attempt) REFERENCES draws
);

CREATE TABLE audits (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id     bigint NOT NULL,
    attempt      integer NOT NULL,
    label_id     bigint NOT NULL,
    revision_id  bigint NOT NULL REFERENCES revisions,
    senior_id    bigint NOT NULL REFERENCES people,
    verdict      text NOT NULL CHECK (verdict IN ('pass', 'fail')),
    reasons      text[] NOT NULL,
    slices       integer[] NOT NULL,
    note         text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    UNIQUE (batch_id, attempt, label_id, revision_id),
    FOREIGN KEY (batch_id, attempt, label_id) REFERENCES drawn_labels
);

CREATE TABLE decisions (
    batch_id     bigint NOT NULL REFERENCES batches,
    attempt      integer NOT NULL,
    reviewer_id  bigint NOT NULL REFERENCES people,
    verdict      text NOT NULL CHECK (verdict IN ('accept', 'reject')),
    note         text NOT NULL,
    shown        jsonb NOT NULL,                -- the figures the reviewer had on screen
    at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (batch_id, attempt)
);

CREATE TABLE tasks (
    label_id         bigint NOT NULL REFERENCES labels,
    round            integer NOT NULL,          -- the round of the label that this task will submit
    slab             integer NOT NULL DEFAULT 0,
    project_id       bigint NOT NULL,           -- Label Studio's
    task_id          bigint NOT NULL UNIQUE,    -- Label Studio's
    annotator_id     bigint NOT NULL REFERENCES people,
    parent_id        bigint REFERENCES revisions,
    first_slice      integer NOT NULL,
    slices           integer NOT NULL,
    urls_expire_at   timestamptz NOT NULL,          -- until when the presigned slice addresses work
    PRIMARY KEY (label_id, round, slab)
);

CREATE TABLE annotations (
    annotation_id  bigint NOT NULL,             -- Label Studio's
    updated_at     timestamptz NOT NULL,
    task_id        bigint NOT NULL,
    outcome        text NOT NULL,               -- taken, or why it was set aside
    mask           text,
    seconds        float8,
    effort         jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (annotation_id, updated_at)
);

CREATE TABLE cursors (
    project_id  bigint PRIMARY KEY,
    seen_until  timestamptz NOT NULL
);

CREATE TABLE splits (
    patient_id  text PRIMARY KEY REFERENCES patients,
    split       text NOT NULL CHECK (split IN ('train', 'val', 'test'))
);

CREATE TABLE dataset_members (
    dataset_id   bigint NOT NULL REFERENCES datasets,
    label_id     bigint NOT NULL REFERENCES labels,
    revision_id  bigint NOT NULL REFERENCES revisions,
    split        text NOT NULL CHECK (split IN ('train', 'val', 'test')),
    position     integer NOT NULL,              -- order of growth: stage N takes the first N of train
    PRIMARY KEY (dataset_id, label_id)
);
